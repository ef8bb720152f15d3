"""An application whose import starts a thread, which no fork takes along."""

import threading

from process.apps import app

__all__ = ["app"]

threading.Thread(target=threading.Event().wait, name="pump", daemon=True).start()
