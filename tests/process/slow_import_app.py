"""An application whose import takes longer than anybody waits."""

import os
import time

os.write(1, b"is being imported\n")
time.sleep(60)
