"""For applications: end the server's threads, as a defect of its own might."""

import ctypes
import threading


class Killed(BaseException):
    """Nobody expects it."""


def kill_others() -> str:
    """Raise an exception in the other threads of the pool, wherever they are; how many."""
    here = threading.current_thread()
    others = [
        thread
        for thread in threading.enumerate()
        if thread.name.rpartition("-")[2].isdigit() and "serval-" in thread.name
        if thread is not here
    ]
    for thread in others:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Killed)
        )
    return str(len(others))
