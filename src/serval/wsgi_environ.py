"""The environ of a WSGI request, by PEP 3333.  Pure: made of the scope that ASGI would have."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from serval.asgi.types import Address, Scope
from serval.version import __version__
from serval.wsgi import Environ, FileWrapper

# Field names as they arrive -> their keys in an environ; "" for those that have none.  Clients
# choose them, so the table is bounded and begun anew when full.  Threads share it.
_KEYS: dict[bytes, str] = {}
# Those that CGI has named; apart, so that nobody finds the table without them.
_OWN_KEYS: Final = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_KEYS_COUNT: Final = 1024
_KEY_BYTES: Final = 128


def environ_template(
    server: Address | None, scheme: str, *, errors: object, multithread: bool, multiprocess: bool
) -> Environ:
    """What the environs of all requests to one of our addresses have in common.

    Args:
        server: Our address.
        scheme: "http" or "https".
        errors: A text stream, as `wsgi.errors`.
        multithread: Whether the application may be called by several threads at once.
        multiprocess: Whether other processes run it, too.
    """
    host, port = server or ("localhost", None)
    if port is None:  # a Unix socket has no name that a client could use
        host, port = "localhost", 443 if scheme == "https" else 80
    return {
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"serval/{__version__}",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "",
        "REMOTE_PORT": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,  # reading to the end of the input is safe, chunked or not
    }


def environ_of(template: Environ, scope: Scope, body: object, length: int | None) -> Environ:
    """The environ of one request, a dictionary of its own.

    Args:
        template: For the address that the request came to, and its scheme.
        scope: The same request for ASGI, whatever trusted proxies say of it already in it.
        body: The input stream.
        length: How many bytes it has, None where only its end will tell.
    """
    environ = template.copy()
    raw_path = scope["raw_path"]
    environ["REQUEST_METHOD"] = scope["method"]
    if root_path := scope["root_path"]:
        environ["SCRIPT_NAME"] = _native(root_path)
    path = scope["path"]
    environ["PATH_INFO"] = (
        path if path.isascii() and not root_path else _path_info(path, root_path, raw_path)
    )
    if query := scope["query_string"]:
        environ["QUERY_STRING"] = query.decode("latin-1")
        raw_path += b"?" + query
    environ["REQUEST_URI"] = raw_path.decode("latin-1")
    if scope["http_version"] != "1.1":
        environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    if client := scope["client"]:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    environ["wsgi.input"] = body
    _add_fields(environ, scope["headers"])
    if length is not None and "HTTP_TRANSFER_ENCODING" in environ:
        # All of a chunked body is here: as good as one whose length was announced.
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["CONTENT_LENGTH"] = str(length)
    return environ


def _add_fields(environ: Environ, headers: Iterable[tuple[bytes, bytes]]) -> None:
    keys = _KEYS
    for name, value in headers:
        key = keys.get(name)
        if key is None:
            key = _key_of(name)
        text = value.decode("latin-1")
        if key not in environ:
            environ[key] = text
        elif key == "HTTP_COOKIE":
            environ[key] += "; " + text  # RFC 6265 section 5.4 knows no comma
        else:
            environ[key] += "," + text
    if "" in environ:
        del environ[""]


def _key_of(name: bytes) -> str:
    key = _OWN_KEYS.get(name)
    if key is None:
        # With an underscore it would pass for one with a hyphen, which a proxy may have checked.
        key = "" if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(name) <= _KEY_BYTES:
        if len(_KEYS) >= _KEYS_COUNT:
            _KEYS.clear()
        _KEYS[name] = key
    return key


def _path_info(path: str, root_path: str, raw_path: bytes) -> str:
    """The path below the root path, its bytes as characters (PEP 3333, "Unicode Issues")."""
    below = path[len(root_path) :] if root_path and path.startswith(root_path) else path
    if below.isascii():
        return below
    if "\ufffd" not in below:
        return _native(below)
    # What is not UTF-8 cannot be had back from the decoded path.
    whole = unquote_to_bytes(raw_path)
    prefix = root_path.encode()
    is_inside = path == root_path + below and whole.startswith(prefix) and _decoded(whole) == path
    return (whole[len(prefix) :] if is_inside else whole).decode("latin-1")


def _decoded(path: bytes) -> str:
    return path.decode(errors="replace")


def _native(text: str) -> str:
    return text if text.isascii() else text.encode(errors="surrogateescape").decode("latin-1")
