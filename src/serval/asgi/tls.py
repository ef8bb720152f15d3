"""The `tls` extension of a scope: what a handshake has settled, as applications are told.  Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

# How `ssl` tells a distinguished name: parts, each of one or more attributes.
DistinguishedName: TypeAlias = Sequence[Sequence[tuple[str, str]]]

_VERSIONS: Final = {
    "SSLv3": 0x0300,
    "TLSv1": 0x0301,
    "TLSv1.1": 0x0302,
    "TLSv1.2": 0x0303,
    "TLSv1.3": 0x0304,
}
# The short names of RFC 4514 section 3, and those that LDAP has registered for others in use.
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
    "surname": "sn",
}
_ESCAPED: Final = {ord(character): f"\\{character}" for character in '"+,;<>\\'} | {0: "\\00"}


def tls_extension(
    *,
    server_cert: str | None,
    client_certs: Iterable[str],
    client_name: DistinguishedName | None,
    version: str | None,
    cipher_suite: int | None,
) -> dict[str, Any]:
    """The extension (ASGI TLS 0.2).

    A client whose certificate does not hold is refused in the handshake, so that no error is ever
    told.

    Args:
        client_certs: In PEM, the client's own first.
        client_name: The subject of the client's certificate.
        version: As OpenSSL names it.
    """
    chain = list(client_certs)
    return {
        "server_cert": server_cert or None,
        "client_cert_chain": chain,
        "client_cert_name": distinguished_name(client_name or ()) if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(version or ""),
        "cipher_suite": cipher_suite,
    }


def distinguished_name(parts: DistinguishedName) -> str:
    """A name in one line, the most specific part first (RFC 4514 section 2)."""
    return ",".join("+".join(map(_attribute, part)) for part in reversed(parts))


def _attribute(pair: tuple[str, str]) -> str:
    name, value = pair
    text = value.translate(_ESCAPED)
    if text[:1] in ("#", " "):
        text = "\\" + text
    if text[-1:] == " " and text != "\\ ":
        text = text[:-1] + "\\ "
    return f"{_SHORT_NAMES.get(name, name)}={text}"
