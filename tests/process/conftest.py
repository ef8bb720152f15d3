"""What the tests of real connections share."""

import pytest

from process.lanes import KINDS, Kind


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each lane on each event loop."""
    found: Kind = request.param
    return found
