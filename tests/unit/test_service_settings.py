import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.net.bind import TcpBind, UnixBind
from serval.service_settings import parse_mode


def refusal_of(**settings: object) -> str:
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)  # type: ignore[arg-type]  # wrong values are what is tested
    return str(refusal.value)


def test_by_default_nobody_is_told_anything() -> None:
    assert ServerConfig().admin is None


@pytest.mark.parametrize(
    ("spec", "bind"),
    [
        ("unix:/run/x", UnixBind("/run/x")),
        ("127.0.0.1:9000", TcpBind("127.0.0.1", 9000)),
        (":9000", TcpBind("", 9000)),
        ("9000", TcpBind("127.0.0.1", 9000)),
    ],
)
def test_the_admin_endpoint_is_a_socket_file_or_a_port(spec: str, bind: TcpBind | UnixBind) -> None:
    assert ServerConfig(admin_bind=spec).admin == bind


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"admin_bind": "fd:3"}, "is no address; legal: unix:path or host:port"),
        ({"admin_bind": "unix:@x"}, "is an abstract name, which nothing protects"),
        ({"admin_bind": "nowhere"}, "bind 'nowhere' has no port"),
        ({"admin_bind": "unix:/x", "workers": 0}, "needs a supervisor, which workers 0 does"),
        ({"admin_bind": "unix:/x", "bind": ("unix:/x",)}, "where the application listens"),
        ({"admin_bind": "8000"}, "is 127.0.0.1:8000, where the application listens"),
    ],
)
def test_an_admin_endpoint_that_cannot_be_is_refused(
    settings: dict[str, object], message: str
) -> None:
    refusal = refusal_of(**settings)

    assert refusal.startswith("admin_bind ")
    assert message in refusal


def test_two_ports_that_the_kernel_chooses_are_no_contradiction() -> None:
    assert ServerConfig(port=0, admin_bind="127.0.0.1:0").admin == TcpBind("127.0.0.1", 0)


@pytest.mark.parametrize(("text", "mode"), [("660", 0o660), ("0660", 0o660), ("0o7", 7), ("0", 0)])
def test_permissions_are_octal_however_they_are_written(text: str, mode: int) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["888", "rw-rw----", "-1", "01777", ""])
def test_what_is_not_octal_is_no_permission(text: str) -> None:
    with pytest.raises(ValueError, match="octal"):
        parse_mode(text)


def test_permissions_that_are_none_are_refused_by_name() -> None:
    assert refusal_of(umask="99") == "umask must be octal digits such as 027 or 660, not '99'"
    assert refusal_of(bind=("unix:x",), uds_mode="x").startswith("uds_mode must be octal digits")


@pytest.mark.parametrize("name", ["user", "group"])
def test_who_stays_root_loads_no_application(name: str) -> None:
    assert "contradicts preload" in refusal_of(preload=True, **{name: "www"})
    assert ServerConfig(preload=False, **{name: "www"})  # type: ignore[arg-type]  # a text


@pytest.mark.parametrize(
    "settings", [{"uds_mode": "600"}, {"uds_owner": "www"}, {"uds_group": "www"}]
)
def test_what_is_said_of_unix_sockets_needs_one(settings: dict[str, str]) -> None:
    assert "is for Unix sockets, and bind names none" in refusal_of(**settings)
    assert "is for Unix sockets" in refusal_of(bind=("unix:@x",), **settings)
    assert ServerConfig(bind=("unix:/x", ":80"), **settings)  # type: ignore[arg-type]  # see above
