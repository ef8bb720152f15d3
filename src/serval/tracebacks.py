"""Tracebacks of the application's errors, told from the application's first frame on.

The loader and the lifespan put them into their messages; frames of ours and of the import system,
which say nothing to the person who has to mend the application, are left out.  Pure text.
"""

import traceback
from pathlib import Path
from typing import Final

_OURS: Final = str(Path(__file__).parent)
_IMPORT_SYSTEM: Final = ("<frozen importlib", "<frozen runpy")
_IMPORTLIB: Final = str(Path(traceback.__file__).parent / "importlib")
# Our own directories run no code of a user's, but the demo is an application like any other.
_APPLICATIONS: Final = frozenset({str(Path(__file__).parent / "demo.py")})


def user_traceback(error: BaseException) -> str:
    """The traceback of an error and of its causes, as text without a final newline."""
    report = traceback.TracebackException.from_exception(error, compact=True)
    _trim(report)
    return "".join(report.format()).rstrip("\n")


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of an error that belong to the application, outermost first."""
    return _without_ours(traceback.extract_tb(error.__traceback__))


def _trim(report: traceback.TracebackException) -> None:
    report.stack = traceback.StackSummary.from_list(_without_ours(report.stack))
    for linked in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if linked is not None:
            _trim(linked)


def _without_ours(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    kept = [frame for frame in frames if not frame.filename.startswith(_IMPORT_SYSTEM)]
    while kept and _is_ours(kept[0].filename):
        del kept[0]
    return kept


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OURS, _IMPORTLIB)) and filename not in _APPLICATIONS
