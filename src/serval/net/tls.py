"""TLS contexts: loaded once before the fork, chosen by server name, loaded anew when files change.

`server.py` loads them while it may still read the keys; a worker asks for the context of each
handshake.  No socket is touched here.
"""

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from serval.errors import StartupError
from serval.tls_settings import CertificateFiles, TlsSettings

# How often at most the files are looked at, and how old a change must be: a pair of files is
# rarely replaced in one instant.
CHECK_SECONDS: Final = 1.0

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_DEMANDS: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_CERTIFICATE_BEGINS: Final = "-----BEGIN CERTIFICATE-----"
_CERTIFICATE_ENDS: Final = "-----END CERTIFICATE-----"
# How OpenSSL names what an operator can mend; the rest is shown as it is.
_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
    "BAD_DECRYPT": "the password is wrong",
    "NO_START_LINE": "it is no PEM file",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
}

_Signature: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]

_log = logging.getLogger("serval.error")


class TlsError(StartupError):
    """A certificate, a key or a list of ciphers cannot be used."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Contexts made of the files as they were at one moment.

    Attributes:
        default: For clients that ask for no name of ours.
        named: By server name, or by `*.` and what follows.
        certificates: The certificate of each context, PEM.
        ciphers: The numbers of ciphers by their OpenSSL names (RFC 8446 section B.4).
    """

    default: ssl.SSLContext
    named: Mapping[str, ssl.SSLContext]
    certificates: Mapping[ssl.SSLContext, str]
    ciphers: Mapping[str, int]

    def context_for(self, name: str | None) -> ssl.SSLContext:
        """The context for the name that a client asks for (RFC 6066 section 3)."""
        if not name or not self.named:
            return self.default
        name = name.lower().rstrip(".")
        found = self.named.get(name) or self.named.get("*." + name.partition(".")[2])
        return found or self.default


@dataclass(slots=True)
class Certificates:
    """The certificates of a server, as new as their files.  One thread only.

    Attributes:
        loaded: What handshakes use from now on.
    """

    settings: TlsSettings
    loaded: Loaded
    _signature: _Signature = field(repr=False)
    _checked_at: float = 0.0

    def current(self, now: float, wall_now: Callable[[], float]) -> Loaded:
        """What the next handshake uses; the files are looked at if that was a while ago.

        A pair that cannot be loaded is told in the log, once, and the one before it stays.

        Args:
            now: Monotonic seconds.
            wall_now: Tells the time that the times of files are compared with.
        """
        if now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            signature = _signature_of(self.settings)
            if signature != self._signature and not _is_fresh(signature, wall_now()):
                self._signature = signature
                self._reload()
        return self.loaded

    def _reload(self) -> None:
        try:
            self.loaded = _load(self.settings)
        except TlsError as exc:
            _log.error(
                "the certificates have changed and cannot be used, those before them stay: %s", exc
            )
        else:
            _log.info("the certificates have changed, and are loaded anew")


def load_certificates(settings: TlsSettings) -> Certificates | None:
    """The certificates that the settings name; None where TLS is off.

    Raises:
        TlsError: One of them cannot be used; the text names the file and the reason.
    """
    if settings.certificate is None:
        return None
    signature = _signature_of(settings)
    return Certificates(settings, _load(settings), signature)


def _load(settings: TlsSettings) -> Loaded:
    assert settings.certificate is not None
    certificates: dict[ssl.SSLContext, str] = {}

    def context_of(files: CertificateFiles, origin: str) -> ssl.SSLContext:
        context = _context(settings, files, origin)
        certificates[context] = _first_certificate(files.certificate)
        return context

    default = context_of(settings.certificate, "ssl_certfile")
    named = {
        name: context_of(files, f"ssl_sni for {name}")
        for name, files in settings.named_certificates.items()
    }
    ciphers = {str(one["name"]): int(one["id"]) & 0xFFFF for one in default.get_ciphers()}
    loaded = Loaded(default, named, certificates, ciphers)
    if named:
        default.sni_callback = _chooser(loaded)
    return loaded


def _chooser(
    loaded: Loaded,
) -> Callable[[ssl.SSLObject | ssl.SSLSocket, str | None, ssl.SSLContext], None]:
    def choose(
        handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        handshake.context = loaded.context_for(name)

    return choose  # type: ignore[return-value,unused-ignore]


def _context(settings: TlsSettings, files: CertificateFiles, origin: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.ssl_minimum_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(list(settings.ssl_alpn))
    if settings.ssl_ciphers:
        try:
            context.set_ciphers(settings.ssl_ciphers)
        except ssl.SSLError as exc:
            raise TlsError(f"ssl_ciphers {settings.ssl_ciphers!r}: {_reason(exc)}") from exc
    _load_pair(context, settings, files, origin)
    if settings.ssl_ca_certs:
        _load_authorities(context, settings.ssl_ca_certs)
    context.verify_mode = _DEMANDS[settings.ssl_cert_reqs]
    return context


def _load_pair(
    context: ssl.SSLContext, settings: TlsSettings, files: CertificateFiles, origin: str
) -> None:
    asked: list[bool] = []

    def password() -> str:
        # Without an answer of ours OpenSSL would ask at the terminal, and wait there.
        asked.append(True)
        return settings.ssl_keyfile_password

    _check_readable(files.certificate, origin)
    if files.key:
        _check_readable(files.key, f"the key of {origin}")
    where = f"certificate {files.certificate} ({origin})"
    if files.key:
        where += f" with key {files.key}"
    try:
        context.load_cert_chain(files.certificate, files.key or None, password)
    except ssl.SSLError as exc:
        reason = _reason(exc)
        if asked and not settings.ssl_keyfile_password:
            reason = "the key is encrypted; give ssl_keyfile_password"
        elif getattr(exc, "reason", None) not in _REASONS:
            reason = "the password is wrong" if asked else _missing_part(files) or reason
        raise TlsError(f"cannot load {where}: {reason}") from exc
    except (OSError, ValueError) as exc:
        raise TlsError(f"cannot load {where}: {exc}") from exc


def _missing_part(files: CertificateFiles) -> str:
    """What a pair of files does not have in it, where OpenSSL says no more than `PEM lib`."""
    if not _first_certificate(files.certificate):
        return f"there is no certificate in {files.certificate}"
    path = files.key or files.certificate
    if "PRIVATE KEY-----" not in _text_of(path):
        return f"there is no private key in {path}"
    return ""


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            _check_readable(path, "ssl_ca_certs")
            context.load_verify_locations(cafile=path)
    except ssl.SSLError as exc:
        raise TlsError(f"cannot load {path} (ssl_ca_certs): {_reason(exc)}") from exc


def _check_readable(path: str, origin: str) -> None:
    """OpenSSL does not say which of its files it cannot open."""
    try:
        with open(path, "rb"):
            pass
    except OSError as exc:
        raise TlsError(f"cannot load {path} ({origin}): {exc.strerror}") from exc


def _reason(exc: ssl.SSLError) -> str:
    code = getattr(exc, "reason", None) or ""  # absent where Python itself has found the fault
    return _REASONS.get(code, "") or code or " ".join(map(str, exc.args))


def _first_certificate(path: str) -> str:
    """The first certificate of a PEM file, the one that is the server's own."""
    _, begins, rest = _text_of(path).partition(_CERTIFICATE_BEGINS)
    body, ends, _ = rest.partition(_CERTIFICATE_ENDS)
    return f"{begins}{body}{ends}\n" if ends else ""


def _text_of(path: str) -> str:
    return Path(path).read_text("latin-1")


def _signature_of(settings: TlsSettings) -> _Signature:
    """What changes when one of the files does, a symbolic link to it included."""
    assert settings.certificate is not None
    pairs = [settings.certificate, *settings.named_certificates.values()]
    paths = [path for pair in pairs for path in pair if path]
    return tuple(_identity(path) for path in (*paths, settings.ssl_ca_certs) if path)


def _identity(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _is_fresh(signature: _Signature, wall_now: float) -> bool:
    """Whether a file was written in this very moment, or is away: others may follow it."""
    return any(one is None or 0 <= wall_now - one[0] / 1e9 < CHECK_SECONDS for one in signature)
