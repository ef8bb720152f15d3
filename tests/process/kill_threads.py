"""For applications: end the server's threads, as a defect of its own might."""

import ctypes
import threading
import time

PATIENCE_SECONDS = 15.0


class Killed(BaseException):
    """Nobody expects it."""


def kill_others() -> str:
    """Raise an exception in the other threads of the pool, wherever they are; how many."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    crew = _crew()
    # One that has been replaced, and has the name of its successor, may not have ended yet.
    while len({thread.name for thread in crew}) < len(crew) and time.monotonic() < give_up_at:
        time.sleep(0.01)
        crew = _crew()
    here = threading.current_thread()
    others = [thread for thread in crew if thread is not here]
    for thread in others:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Killed)
        )
    return str(len(others))


def _crew() -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.rpartition("-")[2].isdigit() and "serval-" in thread.name
    ]
