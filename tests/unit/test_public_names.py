"""What `import serval` gives, and what it costs."""

import subprocess
import sys

import pytest

import serval
import serval.async_pool
from serval.errors import PeerError
from serval.protocols.http1 import H1Protocol
from serval.worker import async_pool, handoffs, sync_worker


def loaded_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_event_loop_and_no_parser() -> None:
    loaded = loaded_after("import serval")

    assert not loaded & {"asyncio", "h11", "wsproto", "click", "socket", "logging"}
    assert {name for name in loaded if name.startswith("serval")} == {"serval", "serval.version"}


@pytest.mark.parametrize("name", serval.__all__)
def test_a_public_name_is_there_when_it_is_asked_for(name: str) -> None:
    assert getattr(serval, name) is not None
    assert name in dir(serval)


def test_a_public_name_is_the_very_thing() -> None:
    from_package = (serval.AsyncPool, serval.SyncWorker, serval.StreamingHandoff)

    assert from_package == (
        async_pool.AsyncPool,
        sync_worker.SyncWorker,
        handoffs.StreamingHandoff,
    )


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'serval' has no attribute 'Nothing'"):
        _ = serval.Nothing


def test_the_pool_has_a_public_place() -> None:
    assert serval.async_pool.AsyncPool is async_pool.AsyncPool
    assert serval.async_pool.WebSocketHandoff is serval.WebSocketHandoff
    assert all(hasattr(serval.async_pool, name) for name in serval.async_pool.__all__)


@pytest.mark.parametrize("size", [None, 100])
def test_the_pools_parser_bounds_a_head_as_asked(size: int | None) -> None:
    parser = serval.async_pool._create_h1_protocol(max_incomplete_event_size=size)

    assert isinstance(parser, H1Protocol)
    parser.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200 + b"\r\n\r\n")
    if size is None:
        assert parser.next_event() is not None
    else:
        with pytest.raises(PeerError, match="pass their limit"):
            parser.next_event()
