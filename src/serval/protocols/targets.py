"""Request targets in other forms than the usual one (RFC 9112 section 3.2).  Pure."""


def origin_form(target: bytes) -> bytes:
    """The path of a target, query left out, that is not in origin form.

    An absolute form gives the part after its authority; `*` stays as it is.
    """
    _, separator, rest = target.partition(b"://")
    if not separator:
        return target
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"
