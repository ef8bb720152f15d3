"""Contexts of TLS, and what applications are told of a handshake."""

import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from serval.asgi.tls import DistinguishedName, distinguished_name, tls_extension
from serval.config import ServerConfig
from serval.errors import ExitStatus
from serval.net.tls import CHECK_SECONDS, Certificates, TlsError, load_certificates

CA = trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ((), ""),
        (((("commonName", "x"),),), "CN=x"),
        (
            ((("countryName", "DE"),), (("organizationName", "A"),), (("commonName", "x"),)),
            "CN=x,O=A,C=DE",
        ),
        (((("organizationalUnitName", "A"), ("commonName", "x")),), "OU=A+CN=x"),
        (((("commonName", 'a,b+c"d\\e<f>g;h'),),), 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h'),
        (((("commonName", "#x"),),), "CN=\\#x"),
        (((("commonName", " x "),),), "CN=\\ x\\ "),
        (((("commonName", " "),),), "CN=\\ "),
        (((("commonName", "a b"),),), "CN=a b"),
        (((("commonName", "a\0b"),),), "CN=a\\00b"),
        (((("commonName", "Łukasz"),),), "CN=Łukasz"),
        (((("serialNumber", "7"),),), "serialNumber=7"),
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
    ],
)
def test_a_name_is_one_line_with_the_most_specific_part_first(
    name: DistinguishedName, text: str
) -> None:
    assert distinguished_name(name) == text


def test_an_extension_has_every_key() -> None:
    extension = tls_extension(
        server_cert="PEM",
        client_certs=["ONE", "TWO"],
        client_name=((("commonName", "x"),),),
        version="TLSv1.3",
        cipher_suite=0x1301,
    )

    assert extension == {
        "server_cert": "PEM",
        "client_cert_chain": ["ONE", "TWO"],
        "client_cert_name": "CN=x",
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1301,
    }


def test_what_is_not_known_is_none() -> None:
    extension = tls_extension(
        server_cert="", client_certs=[], client_name=None, version=None, cipher_suite=None
    )

    assert extension == {
        "server_cert": None,
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": None,
        "cipher_suite": None,
    }


@pytest.mark.parametrize(
    ("version", "number"),
    [("TLSv1", 0x0301), ("TLSv1.1", 0x0302), ("TLSv1.2", 0x0303), ("TLSv9", None)],
)
def test_versions_are_the_numbers_of_the_protocol(version: str, number: int | None) -> None:
    extension = tls_extension(
        server_cert=None, client_certs=[], client_name=None, version=version, cipher_suite=None
    )

    assert extension["tls_version"] == number


def pem(folder: Path, *names: str, file: str = "server.pem") -> str:
    """A certificate and its key in one file, as if written an hour ago."""
    path = folder / file
    CA.issue_cert(
        *names, key_type=trustme.KeyType.ECDSA
    ).private_key_and_cert_chain_pem.write_to_path(str(path))
    set_age(path, 3600.0)
    return str(path)


WALL_NOW = 2_000_000_000.0


def set_age(path: Path, seconds: float) -> None:
    os.utime(path, (WALL_NOW - seconds, WALL_NOW - seconds))


def wall_now() -> float:
    return WALL_NOW


def loaded(**settings: object) -> Certificates:
    certificates = load_certificates(ServerConfig(**settings))  # type: ignore[arg-type]
    assert certificates is not None
    return certificates


def test_there_are_no_contexts_without_a_certificate() -> None:
    assert load_certificates(ServerConfig()) is None


def test_a_context_is_as_the_settings_say(tmp_path: Path) -> None:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    context = loaded(
        ssl_certfile=pem(tmp_path, "a.org"),
        ssl_minimum_version="1.3",
        ssl_cert_reqs="required",
        ssl_ca_certs=str(tmp_path / "ca.pem"),
    ).loaded.default

    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.cert_store_stats()["x509_ca"] == 1


def test_authorities_may_be_a_directory(tmp_path: Path) -> None:
    files = {"ssl_certfile": pem(tmp_path, "a.org"), "ssl_ca_certs": str(tmp_path)}

    assert loaded(**files, ssl_cert_reqs="optional").loaded.default.verify_mode is ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, "default"),
        ("", "default"),
        ("other.org", "default"),
        ("a.org", "a.org"),
        ("A.ORG.", "a.org"),
        ("b.a.org", "*.a.org"),
        ("c.b.a.org", "default"),
    ],
)
def test_a_name_chooses_the_context(tmp_path: Path, asked: str | None, expected: str) -> None:
    contexts = loaded(
        ssl_certfile=pem(tmp_path, "default.org"),
        ssl_sni=(
            f"a.org={pem(tmp_path, 'a.org', file='a.pem')}",
            f"*.a.org={pem(tmp_path, '*.a.org', file='w.pem')}",
        ),
    ).loaded

    chosen = contexts.context_for(asked)

    assert chosen is (contexts.default if expected == "default" else contexts.named[expected])


def test_each_context_knows_its_certificate_and_ciphers_their_numbers(tmp_path: Path) -> None:
    path = pem(tmp_path, "a.org")

    contexts = loaded(ssl_certfile=path).loaded

    assert contexts.certificates[contexts.default] in Path(path).read_text()
    assert contexts.ciphers["TLS_AES_128_GCM_SHA256"] == 0x1301


def refusal(**settings: object) -> str:
    with pytest.raises(TlsError) as refused:
        loaded(**settings)
    assert refused.value.exit_status is ExitStatus.BOOT
    return str(refused.value)


def test_what_cannot_be_loaded_is_named_with_the_reason(tmp_path: Path) -> None:
    good, other = pem(tmp_path, "a.org"), pem(tmp_path, "b.org", file="other.pem")
    missing, junk = str(tmp_path / "missing"), tmp_path / "junk"
    junk.write_text("junk")
    half = tmp_path / "half"
    half.write_text("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")

    assert refusal(ssl_certfile=missing) == (
        f"cannot load {missing} (ssl_certfile): No such file or directory"
    )
    assert "(the key of ssl_certfile)" in refusal(ssl_certfile=good, ssl_keyfile=missing)
    assert "(ssl_sni for a.org)" in refusal(ssl_certfile=good, ssl_sni=(f"a.org={missing}",))
    assert "the key is not the certificate's" in refusal(ssl_certfile=good, ssl_keyfile=other)
    assert f"there is no certificate in {junk}" in refusal(ssl_certfile=str(junk))
    assert f"there is no private key in {junk}" in refusal(ssl_certfile=good, ssl_keyfile=str(junk))
    assert str(half) in refusal(ssl_certfile=str(half), ssl_keyfile=good)
    assert "ssl_ciphers 'nonsense': No cipher can be selected" in refusal(
        ssl_certfile=good, ssl_ciphers="nonsense"
    )
    wanted = {"ssl_certfile": good, "ssl_cert_reqs": "required"}
    assert f"{missing} (ssl_ca_certs): No such" in refusal(**wanted, ssl_ca_certs=missing)
    assert f"{junk} (ssl_ca_certs): there is no certificate in it" in refusal(
        **wanted, ssl_ca_certs=str(junk)
    )


def test_a_key_may_have_a_password(tmp_path: Path) -> None:
    issued = CA.issue_cert("a.org", key_type=trustme.KeyType.ECDSA)
    certificate, locked = tmp_path / "a.crt", tmp_path / "a.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    lock = BestAvailableEncryption(b"sesame")
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(locked)}

    assert "the key is encrypted; give ssl_keyfile_password" in refusal(**files)
    assert "the password is wrong" in refusal(**files, ssl_keyfile_password="x")
    assert "cannot be longer than" in refusal(**files, ssl_keyfile_password="x" * 2000)
    assert loaded(**files, ssl_keyfile_password="sesame").loaded.named == {}


def test_a_directory_is_no_certificate(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(ssl_certfile=str(tmp_path))


# Files that change.


def test_files_that_stay_are_not_loaded_again(tmp_path: Path) -> None:
    certificates = loaded(ssl_certfile=pem(tmp_path, "a.org"))
    before = certificates.loaded

    assert certificates.current(10.0, wall_now) is before


def test_files_that_have_changed_are_loaded_at_the_next_handshake(tmp_path: Path) -> None:
    certificates = loaded(ssl_certfile=pem(tmp_path, "a.org"))
    before = certificates.loaded
    pem(tmp_path, "a.org")

    assert certificates.current(10.0, wall_now) is not before


def test_files_are_looked_at_once_in_a_while(tmp_path: Path) -> None:
    certificates = loaded(ssl_certfile=pem(tmp_path, "a.org"))
    before = certificates.current(10.0, wall_now)
    pem(tmp_path, "a.org")

    assert certificates.current(10.0 + CHECK_SECONDS / 2, wall_now) is before
    assert certificates.current(10.0 + CHECK_SECONDS, wall_now) is not before


def test_a_file_that_is_just_being_written_is_left_alone(tmp_path: Path) -> None:
    certificates = loaded(ssl_certfile=pem(tmp_path, "a.org"))
    before = certificates.loaded
    path = Path(pem(tmp_path, "a.org"))
    set_age(path, 0.5)

    assert certificates.current(10.0, wall_now) is before
    assert certificates.current(11.0, lambda: WALL_NOW + 1.0) is not before


def test_a_file_that_is_away_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(pem(tmp_path, "a.org"))
    certificates = loaded(ssl_certfile=str(path))
    before = certificates.loaded
    path.unlink()

    assert certificates.current(10.0, wall_now) is before
    pem(tmp_path, "a.org")

    assert certificates.current(20.0, wall_now) is not before
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_bad_file_keeps_the_old_context_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(pem(tmp_path, "a.org"))
    certificates = loaded(ssl_certfile=str(path))
    before = certificates.loaded
    path.write_text("junk")
    set_age(path, 60.0)

    for now in (10.0, 20.0, 30.0):
        assert certificates.current(now, wall_now) is before

    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("the certificates have changed and cannot be used")
    assert f"there is no certificate in {path}" in told
