"""An application whose import takes long and swallows whatever comes between."""

import os
import time

try:
    os.write(1, b"is being imported\n")
    time.sleep(60)
except:  # noqa: E722 -- as some do around an import that may fail
    os.write(1, b"goes on\n")
time.sleep(60)
