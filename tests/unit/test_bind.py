"""Where to listen, from text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.errors import ConfigError
from serval.net.bind import Bind, FdBind, TcpBind, UnixBind, parse_bind


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("localhost:8000", TcpBind("localhost", 8000)),
        ("0.0.0.0:0", TcpBind("0.0.0.0", 0)),
        ("[::1]:443", TcpBind("::1", 443)),
        ("[fe80::1%eth0]:80", TcpBind("fe80::1%eth0", 80)),
        (":80", TcpBind("", 80)),
        ("8080", TcpBind("127.0.0.1", 8080)),
        ("unix:/run/x.sock", UnixBind("/run/x.sock")),
        ("unix:x.sock", UnixBind("x.sock")),
        ("unix:///run/x.sock", UnixBind("/run/x.sock")),
        ("unix:@name", UnixBind("@name")),
        ("fd:3", FdBind(3)),
        ("fd://3", FdBind(3)),
    ],
)
def test_a_spec_says_where_to_listen(spec: str, expected: Bind) -> None:
    assert parse_bind(spec) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "has no port"),
        ("localhost", "has no port"),
        ("localhost:", "has '' for its port"),
        ("localhost:http", "has 'http' for its port"),
        ("localhost:65536", "the highest is 65535"),
        ("70000", "the highest is 65535"),
        ("::1:80", r"written in brackets: \[::1\]:80"),
        ("[x]:80", "no IPv6 address in its brackets"),
        ("[::1:80", "no IPv6 address in its brackets"),
        ("http://localhost:80", "ambiguous|no host"),
        ("a b:80", "no host"),
        ("unix:", "names no socket"),
        ("unix:@", "names no socket"),
        ("unix:a\0b", "NUL"),
        ("fd:", "names no file descriptor"),
        ("fd:-1", "names no file descriptor"),
        ("fd:4294967299", "names no file descriptor"),  # 3, and a bit that nobody looks at
        ("٣", "for its port"),
    ],
)
def test_a_spec_that_means_nothing_is_refused_by_its_text(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        parse_bind(spec)

    assert repr(spec) in str(refusal.value)


def test_a_name_without_a_file_is_abstract() -> None:
    assert UnixBind("@x").is_abstract
    assert not UnixBind("x").is_abstract


@given(
    st.one_of(
        st.builds(
            TcpBind, st.sampled_from(["", "a.example", "::1", "10.0.0.1"]), st.integers(0, 65535)
        ),
        st.builds(UnixBind, st.from_regex(r"/[a-z]+", fullmatch=True)),
        st.builds(FdBind, st.integers(0, 1000)),
    )
)
def test_a_bind_is_written_as_it_would_be_parsed(bind: Bind) -> None:
    assert parse_bind(str(bind)) == bind
