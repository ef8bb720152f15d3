"""The settings of TLS, and their contradictions."""

import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.layers import Sources
from serval.report import SECRET, settings_table
from serval.tls_settings import CertificateFiles


def test_without_a_certificate_there_is_no_tls() -> None:
    assert ServerConfig().certificate is None


def test_a_key_may_lie_in_the_file_of_its_certificate() -> None:
    assert ServerConfig(ssl_certfile="c").certificate == CertificateFiles("c", "")
    assert ServerConfig(ssl_certfile="c", ssl_keyfile="k").certificate == CertificateFiles("c", "k")


def test_names_have_certificates_of_their_own() -> None:
    config = ServerConfig(
        ssl_certfile="c",
        ssl_sni=("Example.org = e.pem , e.key", "*.example.org=w.pem", "bücher.example=b.pem"),
    )

    assert config.named_certificates == {
        "example.org": CertificateFiles("e.pem", "e.key"),
        "*.example.org": CertificateFiles("w.pem", ""),
        "xn--bcher-kva.example": CertificateFiles("b.pem", ""),
    }


def test_in_a_variable_lines_separate_the_certificates() -> None:
    environ = {"SERVAL_SSL_CERTFILE": "c", "SERVAL_SSL_SNI": "a.org=a,k\nb.org=b"}

    assert set(ServerConfig.load(Sources(environ=environ)).named_certificates) == {"a.org", "b.org"}


def test_a_password_is_never_shown() -> None:
    config = ServerConfig(ssl_certfile="c", ssl_keyfile_password="sesame")

    table = settings_table(config)

    assert "sesame" not in table
    assert SECRET in table


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ssl_keyfile": "k"}, "ssl_keyfile is given, and ssl_certfile is not"),
        ({"ssl_keyfile_password": "p"}, "ssl_keyfile_password is given, and ssl_certfile is not"),
        ({"ssl_ca_certs": "c"}, "ssl_ca_certs is given, and ssl_certfile is not"),
        ({"ssl_cert_reqs": "required"}, "ssl_cert_reqs is given, and ssl_certfile is not"),
        ({"ssl_minimum_version": "1.3"}, "ssl_minimum_version is given, and ssl_certfile is"),
        ({"ssl_ciphers": "x"}, "ssl_ciphers is given, and ssl_certfile is not"),
        ({"ssl_alpn": ("http/1.0",)}, "ssl_alpn is given, and ssl_certfile is not"),
        ({"ssl_sni": ("a=b",)}, "ssl_sni is given, and ssl_certfile is not"),
        (
            {"ssl_certfile": "c", "ssl_cert_reqs": "optional"},
            "ssl_cert_reqs is optional, and ssl_ca_certs does not say",
        ),
        (
            {"ssl_certfile": "c", "ssl_ca_certs": "a"},
            "ssl_ca_certs is given, and ssl_cert_reqs is none",
        ),
        (
            {"ssl_certfile": "c", "ssl_ciphers": "x", "ssl_minimum_version": "1.3"},
            "ssl_ciphers is for TLS 1.2",
        ),
        ({"ssl_certfile": "c", "ssl_alpn": ("h2",)}, "ssl_alpn names 'h2', which is not spoken"),
        (
            {"ssl_certfile": "c", "ssl_sni": ("a.org",)},
            "'a.org' names no certificate; legal: name=",
        ),
        ({"ssl_certfile": "c", "ssl_sni": ("a.org=",)}, "names no certificate"),
        ({"ssl_certfile": "c", "ssl_sni": ("=a",)}, "begins with no host name"),
        ({"ssl_certfile": "c", "ssl_sni": ("a b=c",)}, "begins with no host name"),
        ({"ssl_certfile": "c", "ssl_sni": ("*.*.org=c",)}, "begins with no host name"),
        ({"ssl_certfile": "c", "ssl_sni": ("\udc80.org=c",)}, "begins with no host name"),
        ({"ssl_certfile": "c", "ssl_sni": ("a.org=b", "A.org=c")}, "a.org is given twice"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)  # type: ignore[arg-type]  # wrong values are what is tested

    assert message in str(refusal.value)
