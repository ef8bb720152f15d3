"""What the tests of real connections share."""

from collections.abc import Iterator

import pytest

from process.lanes import KINDS, Client, Kind, Server, serving


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each lane on each event loop."""
    found: Kind = request.param
    return found


@pytest.fixture(scope="module", params=KINDS, ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The module's `app` on each lane and loop, for all its tests."""
    kind: Kind = request.param
    with serving(kind, request.module.app) as served:
        yield served


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of it; nothing of what it asked for is left when the test is over."""
    connected = server.connect()
    yield connected
    connected.close()
    server.at_rest()
