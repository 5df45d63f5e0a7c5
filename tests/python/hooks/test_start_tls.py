"""start_tls(): TLS that a callback begins amid a connection, with one side or with both."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    ArgumentTypeError,
    ConfigError,
    Connection,
    ConnectionClosedError,
    Intercept,
    InterposeError,
    Side,
    StartTlsError,
    Tls,
    TlsUpstream,
    framing,
)
from support.certificates import Certificate, self_signed, serving
from support.certificates import trusting as trusting_of
from support.peers import Echo, Served, connect, echo, ending, read_exactly
from support.starttls_peers import DIALOGUES, HastyClient, upgrading
from support.tls_peers import Ends

SMTP = DIALOGUES["smtp"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tls(certificate: Certificate) -> Tls:
    return Tls(certificate.cert, certificate.key)


@pytest.fixture
def secure(certificate: Certificate) -> TlsUpstream:
    return TlsUpstream(certificate.cert)


@pytest.fixture
def trusting(certificate: Certificate) -> ssl.SSLContext:
    return trusting_of(certificate)


def of_kind(is_async: bool, callback: Callable[[Side, bytes], bytes | None]) -> Any:
    """Return the callback, or one on the event loop that waits before it does the same, and behind it."""

    async def waiting(side: Side, data: bytes) -> bytes | None:
        await asyncio.sleep(0)
        answer = callback(side, data)
        await asyncio.sleep(0)
        return answer

    return waiting if is_async else callback


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("order", ["both", "client first", "upstream first"])
@pytest.mark.parametrize("framed", [False, True], ids=["bytes", "messages"])
def test_both_sides_behind_the_answer_of_the_server(
    serve: Serve,
    certificate: Certificate,
    tls: Tls,
    secure: TlsUpstream,
    trusting: ssl.SSLContext,
    is_async: bool,
    order: str,
    framed: bool,
) -> None:
    seen: list[tuple[bool, bytes, bool]] = []

    def on_recv(side: Side, data: bytes) -> None:
        seen.append((side.is_client, data, side.tls is not None))
        if data == SMTP.agreed:
            conn = side.connection
            if order == "both":
                conn.start_tls(client=tls, upstream=secure)
            elif order == "client first":
                conn.start_tls(client=tls)
                conn.start_tls(upstream=secure)
            else:
                conn.start_tls(upstream=secure)
                conn.start_tls(client=tls)

    ends, kind = Ends(), framing.lines() if framed else None
    with upgrading(SMTP, serving(certificate)) as upstream:
        server = serve(upstream, on_recv=of_kind(is_async, on_recv), framing=kind, on_close=ends.on_close)
        with connect(server.address) as sock:
            assert read_exactly(sock, len(SMTP.greeting)) == SMTP.greeting
            sock.sendall(SMTP.request)
            assert read_exactly(sock, len(SMTP.agreed)) == SMTP.agreed
            client = HastyClient(sock, trusting)
            sock.sendall(client.hello)
            client.shake()
            assert client.echo(b"secret\r\n") == b"secret\r\n"
            client.end()
    conn = ends.next()
    assert (conn.reason, conn.error) == ("finished", None)
    plain = [(False, SMTP.greeting, False), (True, SMTP.request, False), (False, SMTP.agreed, False)]
    assert seen == [*plain, (True, b"secret\r\n", True), (False, b"secret\r\n", True)]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("framed", [False, True], ids=["bytes", "messages"])
@pytest.mark.parametrize("hasty", [False, True], ids=["waits", "in one segment"])
def test_the_client_alone_whose_request_a_callback_answers(
    serve: Serve, tls: Tls, trusting: ssl.SSLContext, is_async: bool, framed: bool, hasty: bool
) -> None:
    def on_client_recv(side: Side, data: bytes) -> bytes | None:
        request, line, rest = data.partition(SMTP.request)
        if not line:
            return None
        side.send(SMTP.agreed)
        side.connection.start_tls(client=tls, early=rest)
        return request

    ends, kind = Ends(), framing.lines() if framed else None
    with Echo() as upstream:
        callback = of_kind(is_async, on_client_recv)
        server = serve(upstream.address, on_client_recv=callback, framing=kind, on_close=ends.on_close)
        with connect(server.address) as sock:
            assert echo(sock, b"EHLO me\r\n") == b"EHLO me\r\n"
            client = HastyClient(sock, trusting)
            sock.sendall(SMTP.request + (client.hello if hasty else b""))
            assert read_exactly(sock, len(SMTP.agreed)) == SMTP.agreed
            if not hasty:
                sock.sendall(client.hello)
            client.shake()
            assert client.echo(b"secret\r\n") == b"secret\r\n"
            client.end()
    conn = ends.next()
    assert conn.reason == "finished"
    for flow in (conn.to_upstream, conn.to_client):
        assert flow.read + flow.added == flow.delivered + flow.dropped + flow.undeliverable


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_upstream_alone_by_words_of_a_callback(
    serve: Serve, certificate: Certificate, secure: TlsUpstream, is_async: bool
) -> None:
    def on_upstream_recv(side: Side, data: bytes) -> bytes | None:
        if data == SMTP.greeting:
            side.send(SMTP.request)
            return b""
        if data == SMTP.agreed:
            side.connection.start_tls(upstream=secure)
            # So a client that waits for the greeting says nothing before.
            return SMTP.greeting
        return None

    ends = Ends()
    with upgrading(SMTP, serving(certificate)) as upstream:
        callback = of_kind(is_async, on_upstream_recv)
        server = serve(upstream, on_upstream_recv=callback, framing=framing.lines(), on_close=ends.on_close)
        with connect(server.address) as client:
            assert read_exactly(client, len(SMTP.greeting)) == SMTP.greeting
            assert echo(client, b"plain to us\r\n") == b"plain to us\r\n"
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", b"")
    conn = ends.next()
    assert conn.reason == "finished"
    assert conn.client.tls is None
    assert conn.upstream is not None
    assert conn.upstream.tls is not None
    assert conn.upstream.tls.version == "TLSv1.3"


def test_words_injected_behind_the_request_never_come_as_secret_ones(serve: Serve, tls: Tls) -> None:
    seen: list[bytes] = []

    def on_client_recv(side: Side, data: bytes) -> bytes | None:
        seen.append(data)
        if data == SMTP.request:
            side.send(SMTP.agreed)
            side.connection.start_tls(client=tls)
            return b""
        return None

    ends = Ends()
    with Echo() as upstream:
        server = serve(upstream.address, on_client_recv=on_client_recv, framing=framing.lines(), on_close=ends.on_close)
        with connect(server.address) as client:
            client.sendall(SMTP.request + b"RSET\r\n")
            _, said = ending(client)
            assert said.startswith(SMTP.agreed)
    conn = ends.next()
    assert (conn.reason, seen) == ("client_tls_failed", [SMTP.request])
    assert conn.to_upstream.delivered == 0


def test_words_injected_behind_the_answer_never_come_as_secret_ones(
    serve: Serve, certificate: Certificate, tls: Tls, secure: TlsUpstream
) -> None:
    seen: list[bytes] = []

    def on_upstream_recv(side: Side, data: bytes) -> None:
        seen.append(data)
        if data == SMTP.agreed:
            side.connection.start_tls(client=tls, upstream=secure)

    ends = Ends()
    with upgrading(SMTP, serving(certificate), behind=b"250 injected\r\n") as upstream:
        server = serve(upstream, on_upstream_recv=on_upstream_recv, framing=framing.lines(), on_close=ends.on_close)
        with connect(server.address) as client:
            client.sendall(SMTP.request)
            _, said = ending(client)
            assert b"injected" not in said
    assert ends.next().reason == "upstream_tls_failed"
    assert seen == [SMTP.greeting, SMTP.agreed]


def test_true_is_what_the_server_is_set_up_with(serve: Serve, certificate: Certificate, tmp_path: Path) -> None:
    looking = Intercept(TlsUpstream(certificate.cert), starttls=True, folder=tmp_path / "authority")

    def on_upstream_recv(side: Side, data: bytes) -> None:
        if data == SMTP.agreed:
            side.connection.start_tls(client=True, upstream=True)

    with upgrading(SMTP, serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_upstream_recv=on_upstream_recv)
        with connect(server.address) as sock:
            assert read_exactly(sock, len(SMTP.greeting)) == SMTP.greeting
            sock.sendall(SMTP.request)
            assert read_exactly(sock, len(SMTP.agreed)) == SMTP.agreed
            client = HastyClient(sock, ssl.create_default_context(cadata=looking.certificate))
            sock.sendall(client.hello)
            client.shake()
            assert client.echo(b"x") == b"x"
            client.end()


def raised(serve: Serve, act: Callable[[Connection], None], *, words: bytes = b"x", **settings: Any) -> InterposeError:
    """Return what `act` raises in a callback."""
    found: list[InterposeError] = []

    def on_client_recv(side: Side, _: bytes) -> None:
        try:
            act(side.connection)
        except InterposeError as error:
            found.append(error)

    with Served(lambda sock: sock.sendall(sock.recv(100))) as upstream:
        server = serve(upstream.address, on_client_recv=on_client_recv, **settings)
        with connect(server.address) as client:
            assert echo(client, words) == words
    assert "\n" not in str(found[0])
    return found[0]


def test_what_makes_no_sense_is_one_line(serve: Serve, tls: Tls) -> None:
    def of(**given: Any) -> Callable[[Connection], None]:
        return lambda conn: conn.start_tls(**given)

    slips: list[tuple[dict[str, Any], str]] = [
        ({}, "neither side"),
        ({"client": True}, "no tls that True could mean"),
        ({"early": b"x", "upstream": TlsUpstream()}, "give client"),
    ]
    for given, words in slips:
        error = raised(serve, of(**given))
        assert isinstance(error, ConfigError)
        assert words in str(error)
    wrong: list[dict[str, Any]] = [{"client": TlsUpstream()}, {"upstream": tls}, {"client": 1}]
    for given in wrong:
        assert isinstance(raised(serve, of(**given)), ArgumentTypeError)


def test_a_side_that_cannot_begin_is_named(serve: Serve, tls: Tls) -> None:
    found: list[InterposeError] = []

    def on_client_recv(side: Side, _: bytes) -> None:
        for _time in range(2):
            try:
                side.connection.start_tls(client=tls)
            except InterposeError as error:
                found.append(error)
        side.connection.abort()

    with Echo() as upstream:
        server = serve(upstream.address, on_client_recv=on_client_recv)
        with connect(server.address) as client:
            client.sendall(b"x")
            assert ending(client)[0] == "reset"
    assert [type(error) for error in found] == [StartTlsError]
    assert "the client speaks TLS already" in str(found[0])


def test_outside_of_a_callback_it_does_not_begin(serve: Serve, tls: Tls) -> None:
    def on_client_recv(_side: Side, _data: bytes) -> None:
        """Sees what is received."""

    with Echo() as upstream:
        ends = Ends()
        server = serve(upstream.address, on_client_recv=on_client_recv, on_close=ends.on_close)
        with connect(server.address) as client:
            assert echo(client, b"x") == b"x"
            (conn,) = server.connections
            with pytest.raises(StartTlsError, match="call it in on_recv"):
                conn.start_tls(client=tls)
            assert echo(client, b"y") == b"y"
        ended = ends.next()
    with pytest.raises((StartTlsError, ConnectionClosedError)):
        ended.start_tls(client=tls)


def test_before_there_is_an_upstream_it_does_not_begin(serve: Serve, tls: Tls) -> None:
    found: list[InterposeError] = []

    def on_accept(conn: Connection) -> None:
        try:
            conn.start_tls(upstream=TlsUpstream())
        except InterposeError as error:
            found.append(error)

    with Echo() as upstream:
        server = serve(upstream.address, on_accept=on_accept)
        with connect(server.address) as client:
            assert echo(client, b"x") == b"x"
    assert [type(error) for error in found] == [StartTlsError]
    assert "no upstream yet" in str(found[0])
