"""`on_client_hello`: what a TLS client offers is seen before anything is decrypted, and decides who decrypts it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    PASS,
    ArgumentTypeError,
    ByName,
    ClientHello,
    CloseReason,
    Connection,
    Forward,
    Side,
    TheServer,
    Tls,
)
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.certificates import Certificate, self_signed, serving, trusting
from support.hellos import ACCESS_DENIED, UNRECOGNIZED_NAME, hello_of
from support.peers import Echo, Served, connect, ending, read_exactly


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


def reached(ends: CloseRecorder) -> tuple[str, int]:
    """Return where the upstream of the one connection that has ended was."""
    upstream = ends.wait().upstream
    assert upstream is not None
    return upstream.getpeername()


@pytest.fixture
def other() -> Iterator[Echo]:
    with Echo() as upstream:
        yield upstream


def goes_on(conn: Connection, hello: ClientHello) -> None:
    """Answer nothing."""


Greet = Callable[[Connection, ClientHello], Any]


def as_it_is(callback: Greet) -> Callable[..., Any]:
    return callback


def later(callback: Greet) -> Callable[..., Any]:
    async def on_client_hello(conn: Connection, hello: ClientHello) -> Any:
        await asyncio.sleep(0)
        return callback(conn, hello)

    return on_client_hello


def returning(callback: Greet) -> Callable[..., Any]:
    def on_client_hello(conn: Connection, hello: ClientHello) -> Any:
        return later(callback)(conn, hello)

    return on_client_hello


FORMS: dict[str, Callable[[Greet], Callable[..., Any]]] = {"def": as_it_is, "async def": later, "awaitable": returning}


def said(server: TheServer, data: bytes) -> tuple[str, bytes]:
    """Send these bytes, end, and return how it ended and what came."""
    with connect(address_of(server)) as client:
        client.sendall(data)
        # One that is refused may be reset before.
        with contextlib.suppress(OSError):
            client.shutdown(1)
        return ending(client)


@pytest.mark.parametrize("form", FORMS)
def test_what_a_client_offers_is_seen_and_its_bytes_go_on(form: str, echo: Echo, serve: Serve) -> None:
    seen: list[tuple[Connection, ClientHello]] = []

    def see(conn: Connection, hello: ClientHello) -> None:
        seen.append((conn, hello))

    server = serve(echo.address, on_client_hello=FORMS[form](see))
    hello = hello_of("A.Example.", alpn=["h2", "http/1.1"])
    assert said(server, hello + b"more") == ("eof", hello + b"more")
    conn, found = seen.pop()
    assert (found.server_name, found.alpn, found.versions) == ("a.example", ("h2", "http/1.1"), ("TLSv1.3", "TLSv1.2"))
    assert 0x1301 in found.cipher_suites
    assert found.ja4.startswith("t13d")
    assert conn.client.getpeername()[0] == "127.0.0.1"
    old = hello_of(None, version=ssl.TLSVersion.TLSv1_2)
    assert said(server, old) == ("eof", old)
    found = seen.pop()[1]
    assert (found.server_name, found.alpn, found.versions[0]) == (None, (), "TLSv1.2")
    assert found.ja4.startswith("t12i")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.alpn = ()  # type: ignore[misc]


@pytest.mark.parametrize("form", FORMS)
def test_its_answers(form: str, echo: Echo, other: Echo, serve: Serve) -> None:
    def decide(_: Connection, hello: ClientHello) -> Any:
        host, port = other.address
        answers = {"a": Forward(host, port), "b": f"{host}:{port}", "c": PASS, "d": None, "e": False}
        return answers[(hello.server_name or "")[0]]

    ends = CloseRecorder()
    server = serve(echo.address, on_client_hello=FORMS[form](decide), on_close=ends)
    for name, goes_to in [("a.example", other), ("b.example", other), ("c.example", echo), ("d.example", echo)]:
        hello = hello_of(name)
        assert said(server, hello) == ("eof", hello)
        assert reached(ends) == goes_to.address
        ends.all.clear()
    assert said(server, hello_of("e.example")) == ("eof", ACCESS_DENIED)
    assert ends.wait().reason is CloseReason.REJECTED
    assert ends.wait().error == "on_client_hello refused the client"


@pytest.mark.parametrize("form", FORMS)
def test_it_chooses_who_is_decrypted(form: str, echo: Echo, serve: Serve, certificate: Certificate) -> None:
    shown: list[bytes] = []

    def answer(sock: Any) -> None:
        with serving(certificate).wrap_socket(sock, server_side=True) as client:
            client.sendall(b"upstream " + client.recv(100))

    def see(_: Side, data: bytes) -> None:
        shown.append(data)

    tls = Tls(certificate.cert, certificate.key)
    with Served(answer) as secure:
        choices: dict[str | None, Callable[[], Any]] = {
            None: lambda: None,
            "h2": lambda: PASS,
            "x": lambda: Forward(*secure.address),
        }

        def decide(_: Connection, hello: ClientHello) -> Any:
            return choices[hello.alpn[0] if hello.alpn else None]()

        for own, alpn, forward_to, wanted in [
            (tls, None, echo.address, b"hello"),
            (tls, "h2", secure.address, b"upstream hello"),
            (None, "x", echo.address, b"upstream hello"),
        ]:
            shown.clear()
            server = serve(forward_to, tls=own, on_client_hello=FORMS[form](decide), on_client_recv=see)
            context = trusting(certificate)
            if alpn:
                context.set_alpn_protocols([alpn])
            with context.wrap_socket(connect(address_of(server)), server_hostname="localhost") as client:
                client.sendall(b"hello")
                assert read_exactly(client, len(wanted)) == wanted
            assert (b"hello" in shown) == (own is not None and alpn is None)
        server = serve(echo.address, on_client_hello=FORMS[form](lambda conn, hello: tls), on_client_recv=see)
        with trusting(certificate).wrap_socket(connect(address_of(server)), server_hostname="localhost") as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"


@pytest.mark.parametrize("answer", [3, True, b"a", {"a": 1}, Forward.NOWHERE])
@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_means_nothing(
    answer: object, form: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    ends = CloseRecorder()
    server = serve(echo.address, on_client_hello=FORMS[form](lambda conn, hello: answer), on_close=ends)
    assert said(server, hello_of("a.example"))[0] == "reset"
    assert ends.wait().reason is CloseReason.CALLBACK_ERROR
    line = callback_log.wait("on_client_hello returned ")
    assert "interpose.PASS (undecrypted), a Forward or an address (go there), a Tls" in line


@pytest.mark.parametrize("form", FORMS)
def test_an_error_of_it_ends_its_connection_alone(
    form: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    def fail(_: Connection, hello: ClientHello) -> None:
        if hello.server_name == "a.example":
            raise LookupError("nothing known")

    server = serve(echo.address, on_client_hello=FORMS[form](fail))
    assert said(server, hello_of("a.example"))[0] == "reset"
    callback_log.wait("nothing known")
    hello = hello_of("b.example")
    assert said(server, hello) == ("eof", hello)
    assert server.stats.callback_errors == 1


def test_later_hooks_may_choose_again(echo: Echo, other: Echo, serve: Serve) -> None:
    asked: list[str] = []

    def on_client_hello(_: Connection, hello: ClientHello) -> Forward:
        asked.append("hello")
        return Forward(*other.address)

    def on_accept(_: Connection) -> tuple[str, int] | None:
        asked.append("accept")
        return echo.address if len(asked) > 2 else None

    ends = CloseRecorder()
    server = serve(None, on_client_hello=on_client_hello, on_accept=on_accept, on_close=ends)
    hello = hello_of("a.example")
    for goes_to in (other, echo):
        assert said(server, hello) == ("eof", hello)
        assert reached(ends) == goes_to.address
        ends.all.clear()
    assert asked == ["hello", "accept"] * 2


def test_with_names_none_goes_by_the_name(echo: Echo, other: Echo, serve: Serve) -> None:
    answers: list[Any] = [None, PASS, other.address, None]

    def decide(conn: Connection, hello: ClientHello) -> Any:
        return answers.pop(0)

    server = serve(None, tls=ByName({"a.example": echo.address}), on_client_hello=decide)
    hello = hello_of("a.example")
    for _ in range(3):
        assert said(server, hello) == ("eof", hello)
    assert said(server, hello_of("b.example")) == ("eof", UNRECOGNIZED_NAME)


def test_who_speaks_no_tls_is_reset_or_taken_as_it_is(echo: Echo, serve: Serve) -> None:
    def see(_: Connection, hello: ClientHello) -> None:
        names.append(hello.server_name)

    names: list[str | None] = []
    ends = CloseRecorder()
    assert said(serve(echo.address, on_client_hello=see, on_close=ends), b"GET / HTTP/1.1\r\n\r\n") == ("reset", b"")
    assert "HTTP without TLS" in (ends.wait().error or "")
    server = serve(echo.address, tls="auto", on_client_hello=see)
    assert said(server, b"GET / HTTP/1.1\r\n\r\n") == ("eof", b"GET / HTTP/1.1\r\n\r\n")
    hello = hello_of("a.example")
    assert said(server, hello) == ("eof", hello)
    assert names == ["a.example"]


def test_with_auto_a_silent_client_is_connected_after_preread_timeout(serve: Serve) -> None:
    from interpose import Callbacks

    def greet(sock: Any) -> None:
        sock.sendall(b"220 ready\r\n")

    with Served(greet) as upstream:
        server = serve(
            upstream.address,
            tls="auto",
            on_client_hello=goes_on,
            callbacks=Callbacks(preread_timeout=0.05),
        )
        with connect(address_of(server)) as client:
            assert read_exactly(client, 11) == b"220 ready\r\n"


class Greeter(TheServer):
    """A subclass whose method refuses."""

    def on_client_hello(self, conn: Connection, hello: ClientHello) -> Any:
        return False


class GreeterLater(TheServer):
    """A subclass whose coroutine method refuses."""

    async def on_client_hello(self, conn: Connection, hello: ClientHello) -> Any:
        return False


@pytest.mark.parametrize("kind", [Greeter, GreeterLater])
def test_a_method_of_a_subclass(kind: type[TheServer], echo: Echo) -> None:
    with kind("", 0, echo.address) as server:
        assert said(server, hello_of("a.example")) == ("eof", ACCESS_DENIED)


def test_by_decorator_and_by_assignment(echo: Echo, serve: Serve) -> None:
    server, hello = serve(echo.address), hello_of("a.example")

    @server.on_client_hello
    def refuse(conn: Connection, hello: ClientHello) -> Any:
        return False

    assert said(server, hello) == ("eof", ACCESS_DENIED)
    server.on_client_hello = later(lambda conn, hello: PASS)
    assert said(server, hello) == ("eof", hello)
    server.on_client_hello = refuse
    assert said(server, hello) == ("eof", ACCESS_DENIED)
    del server.on_client_hello
    assert said(server, b"no hello at all") == ("eof", b"no hello at all")


def test_it_is_not_for_methods_without_arguments(echo: Echo) -> None:
    class Tutorial(TheServer):
        def on_recv(self) -> None: ...

    with pytest.raises(ArgumentTypeError, match="on_client_hello: methods without arguments accept clients themselves"):
        Tutorial("", 0, echo.address, on_client_hello=lambda conn, hello: None)


def test_many_clients_at_once_are_each_answered(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_client_hello=later(goes_on))
    hello = hello_of("a.example")
    clients = [connect(address_of(server)) for _ in range(50)]
    try:
        for client in clients:
            client.sendall(hello[:60])
        for client in clients:
            client.sendall(hello[60:])
        assert all(read_exactly(client, len(hello)) == hello for client in clients)
    finally:
        for client in clients:
            client.close()
