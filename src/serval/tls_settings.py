"""The settings of TLS: certificates, whom to ask for one, and what may be spoken.

A base of `ServerConfig`, apart for room.  Inert like all settings: whether a certificate can be
loaded is found out by `net/tls.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple

from serval.errors import ConfigError
from serval.options import Group, option
from serval.proxy_settings import ProxySettings

ALPN: Final = ("http/1.1",)
# What we speak, of the protocol ids that IANA has registered for it.
_SPOKEN: Final = ("http/1.1", "http/1.0")
_SERVER_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PREFIX: Final = "ssl_"


class CertificateFiles(NamedTuple):
    """A certificate with its chain, and its key.

    Attributes:
        key: Empty where the key lies in the file of the certificate.
    """

    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class TlsSettings(ProxySettings):
    """TLS; off without a certificate."""

    ssl_certfile: str = option(
        "",
        "A PEM file with the certificate and its chain; turns TLS on for every address.",
        group=Group.TLS,
        placeholder="FILE",
        completes="file",
        aliases=("--certfile", "--ssl-certificate"),
    )
    ssl_keyfile: str = option(
        "",
        "A PEM file with the private key, where it is not in the file of the certificate.",
        group=Group.TLS,
        placeholder="FILE",
        completes="file",
        aliases=("--keyfile",),
    )
    ssl_keyfile_password: str = option(
        "",
        "The password of the private keys. On the command line every user of the machine can read "
        "it, in the variable only yours.",
        group=Group.TLS,
        placeholder="PASSWORD",
        secret=True,
        aliases=("--keyfile-password",),
    )
    ssl_ca_certs: str = option(
        "",
        "A PEM file with the authorities, or a directory of them, that clients' certificates must "
        "come from.",
        group=Group.TLS,
        placeholder="FILE",
        completes="file",
        aliases=("--ca-certs", "--ssl-ca"),
    )
    ssl_cert_reqs: Literal["none", "optional", "required"] = option(
        "none",
        "Whether clients are asked for a certificate, and refused without one.",
        group=Group.TLS,
        aliases=("--cert-reqs",),
    )
    ssl_minimum_version: Literal["1.2", "1.3"] = option(
        "1.2", "The oldest version of TLS to speak.", group=Group.TLS
    )
    ssl_ciphers: str = option(
        "",
        "The ciphers of TLS 1.2, in OpenSSL's notation; Python's choice by default.",
        group=Group.TLS,
        placeholder="CIPHERS",
        aliases=("--ciphers",),
    )
    ssl_alpn: tuple[str, ...] = option(
        ALPN,
        "The protocols to offer by ALPN. May be repeated.",
        group=Group.TLS,
        placeholder="PROTOCOL",
    )
    ssl_sni: tuple[str, ...] = option(
        (),
        "A certificate for clients that ask for a certain name, as name=cert.pem,key.pem or "
        "*.name=...; others get the one of ssl_certfile. May be repeated.",
        group=Group.TLS,
        placeholder="NAME=FILES",
        separator="\n",
    )

    @property
    def certificate(self) -> CertificateFiles | None:
        """The certificate for clients that name no other; None where TLS is off."""
        if not self.ssl_certfile:
            return None
        return CertificateFiles(self.ssl_certfile, self.ssl_keyfile)

    @property
    def named_certificates(self) -> dict[str, CertificateFiles]:
        """The certificates for names; a name in lower case, a wildcard with its `*.`.

        Raises:
            ConfigError: An item of the list does not say which files for which name.
        """
        found: dict[str, CertificateFiles] = {}
        for item in self.ssl_sni:
            name, files = _parse_sni(item)
            if name in found:
                raise ConfigError(f"{name} is given twice")
            found[name] = files
        return found


def _parse_sni(item: str) -> tuple[str, CertificateFiles]:
    name, equals, files = (part.strip() for part in item.partition("="))
    certificate, _, key = (part.strip() for part in files.partition(","))
    if not equals or not certificate:
        raise ConfigError(f"{item!r} names no certificate; legal: name=cert.pem,key.pem")
    try:
        wire_name = name.encode("idna").decode().lower() if not name.isascii() else name.lower()
    except UnicodeError:
        wire_name = ""
    if not _SERVER_NAME.fullmatch(wire_name):
        raise ConfigError(f"{item!r} begins with no host name; legal: name=cert.pem,key.pem")
    return wire_name, CertificateFiles(certificate, key)


def tls_faults(settings: TlsSettings) -> Iterator[tuple[str, str]]:
    """What is wrong or contradicts itself: a setting's name, and the end of a sentence."""
    try:
        _ = settings.named_certificates
    except ConfigError as exc:
        yield "ssl_sni", f"cannot be used: {exc}"
    for protocol in settings.ssl_alpn:
        if protocol not in _SPOKEN:
            yield "ssl_alpn", f"names {protocol!r}, which is not spoken; legal: http/1.1"
    if not settings.ssl_certfile:
        for one in fields(TlsSettings):
            if one.name.startswith(_PREFIX) and getattr(settings, one.name) != one.default:
                yield one.name, "is given, and ssl_certfile is not"
    elif settings.ssl_cert_reqs != "none" and not settings.ssl_ca_certs:
        yield (
            "ssl_cert_reqs",
            f"is {settings.ssl_cert_reqs}, and ssl_ca_certs does not say whose certificates count",
        )
    elif settings.ssl_ca_certs and settings.ssl_cert_reqs == "none":
        yield "ssl_ca_certs", "is given, and ssl_cert_reqs is none: no client would be asked"
    elif settings.ssl_ciphers and settings.ssl_minimum_version == "1.3":
        yield "ssl_ciphers", "is for TLS 1.2, which ssl_minimum_version rules out"
