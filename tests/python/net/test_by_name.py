"""Clients that are routed by the name they ask for in TLS, without decrypting: `tls=ByName(...)`."""

from __future__ import annotations

import copy
import pickle
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Serve
from interpose import AddressError, ArgumentTypeError, ByName, CloseReason, ConfigError, Forward, TheServer
from support.addresses import address_of
from support.callbacks import CloseRecorder
from support.hellos import UNRECOGNIZED_NAME, hello_of
from support.peers import Echo, connect, ending, read_exactly


def reached(ends: CloseRecorder) -> tuple[str, int]:
    """Return where the upstream of the one connection that has ended was."""
    upstream = ends.wait().upstream
    assert upstream is not None
    return upstream.getpeername()


@pytest.fixture
def other() -> Iterator[Echo]:
    with Echo() as upstream:
        yield upstream


def refused(server: TheServer, said: bytes) -> tuple[str, bytes]:
    with connect(address_of(server)) as client:
        client.sendall(said)
        return ending(client)


def test_a_client_goes_where_its_name_does_byte_for_byte(echo: Echo, other: Echo, serve: Serve) -> None:
    names = ByName({"a.example": echo.address, "*.B.example.": Forward(*other.address)}, default=echo.address)
    ends = CloseRecorder()
    server = serve(None, tls=names, on_close=ends)
    for name, goes_to in [("A.example", echo), ("x.y.b.example", other), ("b.example", echo), (None, echo)]:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            hello = hello_of(name, alpn=["h2", "http/1.1"], version=version)
            with connect(address_of(server)) as client:
                client.sendall(hello + b"behind it")
                assert read_exactly(client, len(hello) + 9) == hello + b"behind it"
            assert reached(ends) == goes_to.address
            ends.all.clear()


def test_a_name_without_a_target_is_refused_or_goes_to_forward_to(echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    names = ByName({"a.example": echo.address})
    server = serve(None, tls=names, on_close=ends)
    assert refused(server, hello_of("b.example")) == ("eof", UNRECOGNIZED_NAME)
    conn = ends.wait()
    assert conn.reason is CloseReason.UNKNOWN_NAME
    assert conn.error is not None
    assert "b.example" in conn.error
    server = serve(echo.address, tls=ByName(names.targets, default=False))
    assert refused(server, hello_of("b.example")) == ("eof", UNRECOGNIZED_NAME)
    server = serve(echo.address, tls=names)
    hello = hello_of("b.example")
    with connect(address_of(server)) as client:
        client.sendall(hello)
        assert read_exactly(client, len(hello)) == hello


@pytest.mark.parametrize(("said", "hint"), [(b"GET / HTTP/1.1\r\n\r\n", "HTTP without TLS"), (b"SSH-2.0-x\r\n", "SSH")])
def test_who_speaks_something_else_is_reset_with_a_hint(said: bytes, hint: str, echo: Echo, serve: Serve) -> None:
    ends = CloseRecorder()
    server = serve(None, tls=ByName({"a.example": echo.address}), on_close=ends)
    assert refused(server, said) == ("reset", b"")
    assert ends.wait().reason is CloseReason.CLIENT_TLS_FAILED
    assert hint in (ends.wait().error or "")


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: ByName({"10.0.0.1": "b:1"}), ConfigError, "it is an address; write such as"),
    (lambda: ByName({"a.example:443": "b:1"}), ConfigError, "or has a port"),
    (lambda: ByName({"a.*.example": "b:1"}), ConfigError, "a \\* that is not its whole first part"),
    (lambda: ByName({"a.example": "b:1", "A.example.": "c:1"}), ConfigError, "is there twice"),
    (lambda: ByName({"a\n.example": "b:1"}), ConfigError, "characters"),
    (lambda: ByName({"a.example": "b"}), AddressError, "tls: 'a.example'"),
    (lambda: ByName({"a.example": ("b", 0)}), ConfigError, "port"),
    (lambda: ByName({"a.example": 5}), ArgumentTypeError, "tls: 'a.example'"),  # type: ignore[dict-item]
    (lambda: ByName({5: "b:1"}), ArgumentTypeError, "it is int, not a name"),  # type: ignore[dict-item]
    (lambda: ByName(["a"]), ArgumentTypeError, "it is list, not a dict"),  # type: ignore[arg-type]
    (lambda: ByName({}), ConfigError, "no name, so nobody"),
    (lambda: ByName({"a.example": Forward.NOWHERE}), ConfigError, "NOWHERE is for on_accept"),
    (lambda: ByName({"a.example": "b:1"}, defalt="c:1"), TypeError, "did you mean default"),  # type: ignore[call-arg]
    (lambda: TheServer("", 0, "b:1", tls={"a.example": "b:1"}), ArgumentTypeError, "write ByName"),  # type: ignore[arg-type]
    (lambda: TheServer("", 0, "b:1", tls="Auto"), ConfigError, 'did you mean "auto"'),  # type: ignore[arg-type]
    (lambda: TheServer("", 0, "b:1", tls="auto"), ConfigError, "has no certificate; write Tls"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_wrong_is_said_in_one_line(number: int) -> None:
    make, kind, line = WRONG[number]
    with pytest.raises(kind, match=line) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_it_is_a_value() -> None:
    names = ByName({"a.example": "b:1"}, default="c:2")
    same = ByName({"a.example": ("b", 1)}, default=Forward("c", 2))
    assert names == same
    assert hash(names) == hash(same)
    assert names != ByName({"a.example": "b:1"})
    assert pickle.loads(pickle.dumps(names)) == copy.copy(names) == names
    assert names.default == Forward("c:2")
    assert ByName({"a.example": "b:1"}, default=False).default is False
    assert repr(ByName({"a.example": "b:1"})).startswith("ByName({'a.example': Forward('b:1'")


def test_forward_to_may_be_taken_away_while_names_have_targets(echo: Echo, serve: Serve) -> None:
    server: Any = serve(echo.address, tls=ByName({"a.example": echo.address}))
    server.forward_to = None
    assert refused(server, hello_of(None)) == ("eof", UNRECOGNIZED_NAME)
