"""TLS that begins behind plaintext, found by the client's hello: each byte before it, at it and behind it."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, ConfigError, Intercept, Side, TlsUpstream, framing
from support.certificates import Certificate, self_signed, serving
from support.hellos import hello_of
from support.peers import Address, Echo, connect, echo, ending, read_exactly
from support.starttls_peers import DIALOGUES, Dialogue, HastyClient, lines, upgrading
from support.tls_peers import Ends, over_tls


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def looking(tmp_path: Path, certificate: Certificate) -> Intercept:
    return Intercept(TlsUpstream(certificate.cert), starttls=True, folder=tmp_path / "authority")


@pytest.fixture
def trusting(looking: Intercept) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=looking.certificate)


class Seen:
    """What a callback was called with, by side, and if that side spoke TLS then."""

    def __init__(self) -> None:
        self.all: dict[tuple[bool, bool], bytes] = {}

    def __call__(self, side: Side, data: bytes) -> None:
        key = side.is_client, side.tls is not None
        self.all[key] = self.all.get(key, b"") + data


def begun(address: Address, dialogue: Dialogue) -> socket.socket:
    """A client that has the greeting."""
    client = connect(address)
    assert read_exactly(client, len(dialogue.greeting)) == dialogue.greeting
    return client


@pytest.mark.parametrize("way", ["behind the answer", "in one segment", "byte by byte"])
@pytest.mark.parametrize("protocol", DIALOGUES)
def test_a_hello_behind_the_plaintext_of_each_protocol(
    serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext, protocol: str, way: str
) -> None:
    dialogue, seen, ends = DIALOGUES[protocol], Seen(), Ends()
    with upgrading(dialogue, serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_recv=seen, on_close=ends.on_close)
        with begun(server.address, dialogue) as sock:
            client = HastyClient(sock, trusting)
            if way == "in one segment":
                sock.sendall(dialogue.request + client.hello)
            else:
                sock.sendall(dialogue.request)
            assert read_exactly(sock, len(dialogue.agreed)) == dialogue.agreed
            if way == "behind the answer":
                sock.sendall(client.hello)
            elif way == "byte by byte":
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in client.hello:
                    sock.sendall(bytes((byte,)))
            client.shake()
            assert client.echo(b"secret") == b"secret"
            client.end()
    conn = ends.next()
    assert (conn.reason, conn.error) == ("finished", None)
    plain = {(True, False): dialogue.request, (False, False): dialogue.greeting + dialogue.agreed}
    secret = {(True, True): b"secret", (False, True): b"secret"}
    assert seen.all == {key: said for key, said in (plain | secret).items() if said}
    for flow in (conn.to_upstream, conn.to_client):
        assert (flow.dropped, flow.undeliverable, flow.read) == (0, 0, flow.delivered)


def test_nobody_looks_and_it_is_found_all_the_same(
    serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext
) -> None:
    dialogue, ends = DIALOGUES["smtp"], Ends()
    with upgrading(dialogue, serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_close=ends.on_close)
        with begun(server.address, dialogue) as sock:
            sock.sendall(dialogue.request)
            assert read_exactly(sock, len(dialogue.agreed)) == dialogue.agreed
            with trusting.wrap_socket(sock, server_hostname="localhost") as client:
                assert echo(client, bytes(300_000)) == bytes(300_000)
                client.unwrap()
    conn = ends.next()
    assert conn.client.tls is not None
    assert conn.upstream is not None
    assert conn.upstream.tls is not None
    assert conn.upstream.tls.server_name == "localhost"


def smtp(said: list[tuple[bytes, bool]]) -> Any:
    in_data = False

    def answer(line: bytes, secure: bool) -> bytes | None:
        nonlocal in_data
        said.append((line, secure))
        if in_data:
            in_data = line != b".\r\n"
            return b"" if in_data else b"250 kept\r\n"
        verb = line.split()[0].upper()
        in_data = verb == b"DATA"
        if verb == b"STARTTLS":
            return None
        answers = {b"EHLO": b"250-hi\r\n250 STARTTLS\r\n", b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
        return answers.get(verb, b"250 ok\r\n")

    return answer


@pytest.mark.parametrize("framed", [False, True])
def test_smtplib_sends_mail_that_a_callback_sees(
    serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext, framed: bool
) -> None:
    seen, said, ends = Seen(), list[tuple[bytes, bool]](), Ends()
    with lines(smtp(said), b"220 hi\r\n", serving(certificate)) as upstream:
        kind = framing.lines() if framed else None
        server = serve(upstream, tls=looking, on_recv=seen, framing=kind, on_close=ends.on_close)
        with smtplib.SMTP(*server.address, local_hostname="me", timeout=10) as client:
            client.starttls(context=trusting)
            client.sendmail("a@localhost", ["b@localhost"], "Subject: x\r\n\r\nthe body\r\n")
    assert ends.next().reason in ("finished", "upstream_truncated", "client_truncated")
    assert [line for line, secure in said if not secure] == [b"ehlo me\r\n", b"STARTTLS\r\n"]
    assert (b"the body\r\n", True) in said
    assert seen.all[True, False] == b"ehlo me\r\nSTARTTLS\r\n"
    assert b"the body\r\n" in seen.all[True, True]


def test_imaplib_logs_in(serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext) -> None:
    def answer(line: bytes, secure: bool) -> bytes | None:
        tag, verb, *_ = line.split()
        if verb == b"STARTTLS":
            return None
        more = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS\r\n", b"LOGOUT": b"* BYE\r\n"}.get(verb, b"")
        return more + tag + b" OK done\r\n"

    seen = Seen()
    with lines(answer, b"* OK hi\r\n", serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_recv=seen)
        with imaplib.IMAP4(*server.address, timeout=10) as client:
            client.starttls(trusting)
            client.login("me", "a secret")
    assert b"a secret" not in seen.all[True, False]
    assert b"a secret" in seen.all[True, True]


def test_a_client_that_begins_with_its_hello(
    serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext
) -> None:
    seen = Seen()
    with upgrading(Dialogue(b"", b"", b""), serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_recv=seen)
        with over_tls(server.address, trusting) as client:
            assert echo(client, b"x") == b"x"
            client.unwrap()
    assert seen.all == {(True, True): b"x", (False, True): b"x"}


def test_messages_of_postgresql_go_on_under_tls(
    serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext
) -> None:
    messages: list[tuple[bytes, bool]] = []

    def on_client_recv(side: Side, data: bytes) -> None:
        messages.append((data, side.partial))

    start = b"\0\0\0\x10\0\3\0\0user\0me\0\0"[:16]
    start = len(start).to_bytes(4, "big") + start[4:]
    query = b"Q\0\0\0\x0dSELECT 1\0"
    dialogue = DIALOGUES["postgres"]
    with upgrading(dialogue, serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_client_recv=on_client_recv, framing=(framing.postgres(), None))
        with connect(server.address) as sock:
            client = HastyClient(sock, trusting)
            sock.sendall(dialogue.request)
            assert read_exactly(sock, 1) == b"S"
            sock.sendall(client.hello)
            client.shake()
            assert client.echo(start + query + query) == start + query + query
            client.end()
    assert messages == [(dialogue.request, False), (start, False), (query, False), (query, False)]


@pytest.mark.parametrize("data", ["broken", "whole, amid other words", "half"])
def test_what_is_like_a_hello_in_plain_data_passes_as_it_is(serve: Serve, looking: Intercept, data: str) -> None:
    hello = hello_of("localhost")
    sent = {
        "broken": hello[:9] + b"\xff" + hello[10:],
        "whole, amid other words": b"a picture: " + hello,
        "half": hello[:100],
    }[data]
    ends = Ends()
    with Echo() as upstream:
        server = serve(upstream.address, tls=looking, on_close=ends.on_close)
        with connect(server.address) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", sent)
    conn = ends.next()
    assert (conn.reason, conn.client.tls) == ("finished", None)


def test_a_server_that_refuses_has_its_client_go_on_in_plain(serve: Serve, looking: Intercept) -> None:
    hello = hello_of("localhost")
    with Echo() as upstream:
        server = serve(upstream.address, tls=looking)
        with connect(server.address) as client:
            request = b"x STARTTLS\r\n"
            client.sendall(request + hello)
            # What comes back is no line that agrees.
            assert read_exactly(client, len(request) + len(hello)) == request + hello


def test_plain_words_behind_the_answer_are_not_taken_for_secret_ones(
    serve: Serve, certificate: Certificate, looking: Intercept, trusting: ssl.SSLContext
) -> None:
    dialogue, ends = DIALOGUES["smtp"], Ends()
    with upgrading(dialogue, serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_close=ends.on_close)
        with begun(server.address, dialogue) as sock:
            client = HastyClient(sock, trusting)
            sock.sendall(dialogue.request)
            assert read_exactly(sock, len(dialogue.agreed)) == dialogue.agreed
            sock.sendall(client.hello + b"RSET\r\n")
            _, rest = ending(sock)
            assert rest[:1] in (b"", b"\x15", b"\x16"), "nothing but TLS"
    conn = ends.next()
    assert conn.reason == "client_tls_failed"
    assert conn.to_upstream.delivered == len(dialogue.request), "RSET has not come through"


def test_a_client_that_does_not_trust_us_is_named(serve: Serve, certificate: Certificate, looking: Intercept) -> None:
    dialogue, ends = DIALOGUES["pop3"], Ends()
    with upgrading(dialogue, serving(certificate)) as upstream:
        server = serve(upstream, tls=looking, on_close=ends.on_close)
        with begun(server.address, dialogue) as sock:
            sock.sendall(dialogue.request)
            read_exactly(sock, len(dialogue.agreed))
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    conn = ends.next()
    assert conn.reason == "client_tls_failed"
    assert "interpose ca trust" in str(conn.error)


def test_an_upstream_that_is_not_trusted_ends_the_connection_with_an_alert(
    serve: Serve, certificate: Certificate, tmp_path: Path
) -> None:
    dialogue, ends = DIALOGUES["pop3"], Ends()
    with upgrading(dialogue, serving(certificate)) as upstream:
        looking = Intercept(starttls=True, folder=tmp_path / "authority")
        server = serve(upstream, tls=looking, on_close=ends.on_close)
        with begun(server.address, dialogue) as sock:
            sock.sendall(dialogue.request)
            read_exactly(sock, len(dialogue.agreed))
            context = ssl.create_default_context(cadata=looking.certificate)
            with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"):
                context.wrap_socket(sock, server_hostname="localhost")
    assert ends.next().reason == "upstream_tls_failed"


def test_what_says_nothing_beside_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave one of them out"):
        Intercept(starttls=True, auto=True, folder=tmp_path)


def test_a_slip_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="starttls"):
        Intercept(starttls="yes", folder=tmp_path)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
