"""The application as workers get it."""

import sys
import threading

import pytest

from serval.config import ServerConfig
from serval.errors import LoadError
from serval.worker.application import load_app, running_threads


def test_a_thread_is_named() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="pump")
    thread.start()

    names = running_threads()

    over.set()
    thread.join()
    assert "the thread 'pump'" in names


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_main_thread_alone_is_nothing_to_name() -> None:
    assert [name for name in running_threads() if "MainThread" in name] == []


def test_an_application_that_is_not_there_is_refused() -> None:
    with pytest.raises(LoadError):
        load_app(ServerConfig(app="no_such_module_here:app"))
