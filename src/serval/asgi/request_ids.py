"""The id of each request: taken from a trusted peer's header, or made.  Pure: making is given.

Stands before `Proxies` where ids are asked for; otherwise there is nothing of it.  The application
finds the id in the header and in our extension of the scope, the logs find it there too.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from serval.asgi.proxy import Amend
from serval.asgi.types import Address, Scope
from serval.protocols.response_defaults import HeadEnds

# What other servers and load balancers make ids of; nothing that a log or a header has to escape.
_ID: Final = re.compile(rb"[A-Za-z0-9._~:;,+/=@|-]{1,128}")


class Amends(Protocol):
    """What knows the peers: `Proxies`, or something before it."""

    @property
    def root_path(self) -> str:
        """What `http_scope` shall put before every path."""

    def amend_for(self, peer: Address | None) -> Amend | None:
        """What to do with the scopes of a peer's requests, or None where there is nothing to do."""

    def trusts(self, peer: Address | None) -> bool:
        """Whether what the peer says of a request is believed."""


class Responding(Protocol):
    """A response, as far as it says what the application has sent."""

    @property
    def response_headers(self) -> Iterable[tuple[bytes, bytes]]:
        """What came with its start message."""


class IdentifiedEnds:
    """The ends of a head with an id, unless the application has sent one itself."""

    __slots__ = ("_ends", "_header", "_id", "_response")

    def __init__(self, response: Responding, ends: HeadEnds, header: bytes, value: bytes) -> None:
        self._response = response
        self._ends = ends
        self._header = header
        self._id = value

    @property
    def ends(self) -> tuple[bytes, ...]:
        """As `ResponseDefaults.ends`."""
        if any(name.lower() == self._header for name, _ in self._response.response_headers):
            return self._ends.ends
        line = b"%b: %b\r\n" % (self._header, self._id)
        return tuple(line + end for end in self._ends.ends)


class RequestIds:
    """Gives every scope an id.

    Args:
        proxies: Whose answers are given first.
        header: The name of the header, in lower case.
        make: Makes an id, of visible ASCII.
    """

    __slots__ = ("_header", "_make", "_proxies")

    def __init__(self, proxies: Amends, header: bytes, make: Callable[[], str]) -> None:
        self._proxies = proxies
        self._header = header
        self._make = make

    @property
    def root_path(self) -> str:
        """What `http_scope` shall put before every path."""
        return self._proxies.root_path

    def trusts(self, peer: Address | None) -> bool:
        """Whether what the peer says of a request is believed."""
        return self._proxies.trusts(peer)

    def amend_for(self, peer: Address | None) -> Amend:
        """What to do with the scopes of a peer's requests."""
        amend = self._proxies.amend_for(peer)
        trusted = self.trusts(peer)

        def identify(scope: Scope) -> None:
            if amend is not None:
                amend(scope)
            self._identify(scope, trusted=trusted)

        return identify

    def _identify(self, scope: Scope, *, trusted: bool) -> None:
        wanted = self._header
        headers = scope["headers"]
        given = [value for name, value in headers if name == wanted]
        if trusted and len(given) == 1 and _ID.fullmatch(given[0]):
            request_id = given[0].decode("ascii")
        else:
            request_id = self._make()
            if given:
                headers = [field for field in headers if field[0] != wanted]
            scope["headers"] = [*headers, (wanted, request_id.encode("ascii"))]
        extensions = scope["extensions"]
        extensions["serval"] = {**extensions["serval"], "request_id": request_id}

    def head_ends(self, response: Responding, ends: HeadEnds, scope: Scope) -> HeadEnds:
        """The ends of the response's head that tell the client the id."""
        request_id = scope.get("extensions", {}).get("serval", {}).get("request_id", "")
        if not _ID.fullmatch(request_id.encode("ascii", "replace")):
            return ends  # the scope is of somebody else's making
        return IdentifiedEnds(response, ends, self._header, request_id.encode("ascii"))
