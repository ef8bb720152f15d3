"""Every reason for which a request is refused, once: its code, its status and what it means.

The codes are stable: logs, counters and tests name them.  Types and one table; no decisions.
"""

from typing import Final

from serval.errors import PeerError

REFUSALS: Final[dict[str, tuple[int, str]]] = {
    # The request line (RFC 9112 section 3).
    "tls-handshake": (400, "a TLS handshake arrived where plain HTTP is spoken"),
    "bad-first-byte": (400, "a request begins with a letter of its method"),
    "empty-lines": (400, "at most one empty line may precede a request line"),
    "bad-request-line": (400, "a request line is METHOD SP TARGET SP HTTP/x.y"),
    "http-0.9": (400, "a request line without a version is HTTP/0.9, which is not spoken"),
    "bad-method": (400, "a method is made of token characters"),
    "bad-version": (400, "a version is HTTP/1.0 or HTTP/1.1"),
    "unsupported-version": (505, "this major version of HTTP is not spoken here"),
    "connect": (405, "CONNECT asks for a tunnel, and this is not a proxy"),
    "bad-target": (400, "a request target is made of visible ASCII in one of four forms"),
    "fragment-in-target": (400, "a request target has no fragment"),
    "authority-form": (400, "the authority form of a target belongs to CONNECT alone"),
    "asterisk-form": (400, "the target * belongs to OPTIONS alone"),
    # Lines and fields (RFC 9112 sections 2.2 and 5).
    "bare-lf": (400, "a line ends with CR LF, never with LF alone"),
    "bare-cr": (400, "a CR stands only before the LF that ends a line"),
    "obs-fold": (400, "field values are not continued over lines"),
    "space-before-name": (400, "no white space stands before a field name"),
    "space-before-colon": (400, "no white space stands between a field name and its colon"),
    "no-colon": (400, "a field line is NAME: VALUE"),
    "empty-name": (400, "a field has a name"),
    "bad-name": (400, "a field name is made of token characters"),
    "nul-in-value": (400, "a field value holds no NUL"),
    "control-in-value": (400, "a field value holds no control characters"),
    # Single fields (RFC 9110 section 7.2, RFC 9112 sections 3.2 and 6).
    "missing-host": (400, "an HTTP/1.1 request has a Host field"),
    "repeated-host": (400, "a request has one Host field"),
    "bad-host": (400, "a Host field is a host and perhaps a port"),
    "repeated-content-type": (400, "a request has one Content-Type field"),
    "bad-content-length": (400, "a Content-Length is at most 20 decimal digits"),
    "content-length-list": (400, "a Content-Length is one number, not a list"),
    "repeated-content-length": (400, "a request has one Content-Length field"),
    "cl-and-te": (400, "Content-Length and Transfer-Encoding exclude each other"),
    "te-in-http-1.0": (400, "HTTP/1.0 has no Transfer-Encoding"),
    "repeated-transfer-encoding": (400, "a request has one Transfer-Encoding field"),
    "bad-transfer-encoding": (400, "a Transfer-Encoding lists coding names"),
    "chunked-not-last": (400, "chunked is the last transfer coding, and applied once"),
    "unknown-transfer-coding": (501, "the only transfer coding understood is chunked"),
    # Chunks and trailers (RFC 9112 section 7.1).
    "bad-chunk-size": (400, "a chunk size is 1 to 16 hexadecimal digits"),
    "bad-chunk-extension": (400, "a chunk extension is ;NAME or ;NAME=VALUE"),
    "chunk-extensions-too-long": (400, "the chunk extensions of a body pass their limit"),
    "bad-chunk-end": (400, "the data of a chunk is followed by CR LF"),
    "forbidden-trailer": (400, "this field may not stand in a trailer section"),
    # Limits, and input that ends too early.
    "request-line-too-long": (414, "the request line passes its limit"),
    "field-too-long": (431, "a field line passes its limit"),
    "fields-too-long": (431, "the fields together pass their limit"),
    "too-many-fields": (431, "the number of fields passes its limit"),
    "body-too-large": (413, "the body passes its limit"),
    "incomplete-head": (400, "the connection ended within a request head"),
    "incomplete-body": (400, "the connection ended within a request body"),
    # h11 disagrees with our own checks; a defect of ours if it ever shows.
    "refused-by-h11": (400, "h11 refuses what passed the checks before it"),
}

# What is refused elsewhere than in a request's head or body, and told by the same counters: codes
# and their statuses.
FURTHER: Final[dict[str, int]] = {
    "head-timeout": 408,
    "body-timeout": 408,
    "request-timeout": 504,
    "overloaded": 503,
    "bad-proxy-preamble": 400,
    "tls-handshake-failed": 400,
    "tls-handshake-timeout": 408,
    "plain-http-sent-to-a-tls-port": 400,
    "websocket-method": 405,
    "websocket-http-version": 505,
    "websocket-upgrade": 400,
    "websocket-body": 400,
    "websocket-version": 426,
    "websocket-version-missing": 400,
    "websocket-version-repeated": 400,
    "websocket-key-missing": 400,
    "websocket-key-repeated": 400,
    "websocket-key-malformed": 400,
    "websocket-protocol-malformed": 400,
    "websocket-extensions-malformed": 400,
}
OTHER: Final = "other"
# All of them with their statuses, in the order in which counters have them; the last is for what
# is not among them, so that nobody can make up more.
REASONS: Final[dict[str, int]] = {
    **{reason: status for reason, (status, _) in REFUSALS.items()},
    **FURTHER,
    OTHER: 0,
}


def refusal(reason: str, excerpt: bytes = b"", offset: int = -1) -> PeerError:
    """The error for a reason of the table, to be raised by the caller.

    Args:
        excerpt: The offending bytes; the first 64 are kept.
        offset: Where they begin, in bytes from where the caller counts, or -1.
    """
    status, detail = REFUSALS[reason]
    return PeerError(status, reason, detail, excerpt=excerpt, offset=offset)
