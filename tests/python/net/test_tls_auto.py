"""One port for clients with TLS and for those without: `Tls(auto=True)`, `Intercept(auto=True)`, `--tls-auto`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, ConfigError, Connection, Forward, Intercept, Side, Tls, TlsUpstream
from interpose._addresses import address_text
from interpose._cli.combinations import check
from interpose._cli.parsing import parse
from support.certificates import Certificate, self_signed, serving, trusting
from support.hellos import hello_of
from support.peers import Address, Echo, Served, connect, ending, read_exactly
from support.peers import echo as said
from support.proxies import ProxyCommand
from support.tls_peers import Ends, answer, over_tls, tls_upstream


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


def tls_of(own: Certificate) -> Tls:
    return Tls(own.cert, own.key, auto=True)


def test_clients_with_tls_are_decrypted_and_others_taken_as_they_are(
    own: Certificate, echo: Echo, serve: Serve
) -> None:
    seen: list[tuple[bool, bytes]] = []

    def on_client_recv(side: Side, data: bytes) -> None:
        seen.append((side.tls is not None, data))

    ends = Ends()
    server = serve(echo.address, tls=tls_of(own), on_client_recv=on_client_recv, on_close=ends.on_close)
    with over_tls(server.address, trusting(own)) as secure:
        assert said(secure, b"inside") == b"inside"
        secure.unwrap()
    assert ends.next().reason is CloseReason.FINISHED
    # A first byte as a hello has it, and then no hello.
    for first in (b"GET / HTTP/1.1\r\n\r\n", b"\x16 is no hello", b"x"):
        with connect(server.address) as client:
            assert said(client, first) == first
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", b"")
        assert ends.next().reason is CloseReason.FINISHED
    assert [words for words in seen if words[0]] == [(True, b"inside")]
    assert b"".join(words for has_tls, words in seen if not has_tls) == b"GET / HTTP/1.1\r\n\r\n\x16 is no hellox"


def test_a_hello_in_pieces_is_one_and_one_that_breaks_off_goes_on_as_it_is(
    own: Certificate, echo: Echo, serve: Serve
) -> None:
    server = serve(echo.address, tls=tls_of(own))
    hello = hello_of("localhost")
    with connect(server.address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (hello[:1], hello[1:7], hello[7:]):
            client.sendall(piece)
        # A handshake's record: it was answered, and not sent back.
        assert read_exactly(client, 6)[0::5] == b"\x16\x02"
    with connect(server.address) as client:
        client.sendall(hello[:20])
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", hello[:20])


def test_a_client_that_waits_for_the_server_is_connected_after_preread_timeout(own: Certificate, serve: Serve) -> None:
    def greet(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\r\n")
        sock.sendall(sock.recv(100))

    with Served(greet) as upstream:
        server = serve(upstream.address, tls=tls_of(own), callbacks=Callbacks(preread_timeout=0.05))
        with connect(server.address) as client:
            assert read_exactly(client, 11) == b"220 ready\r\n"
            assert said(client, b"EHLO") == b"EHLO"
        with over_tls(server.address, trusting(own)) as secure:
            assert secure.recv(100) == b"220 ready\r\n"


@pytest.fixture
def either(own: Certificate) -> Iterator[tuple[Address, Address]]:
    """An upstream with TLS, and one without."""
    with tls_upstream(serving(own), answer) as secure, Echo() as plain:
        yield secure, plain.address


def test_what_is_looked_into_goes_on_with_tls_and_the_rest_without(
    either: tuple[Address, Address], own: Certificate, tmp_path: Path, serve: Serve
) -> None:
    secure, plain = either
    looking = Intercept(TlsUpstream(own.cert), folder=tmp_path, auto=True)

    def on_accept(conn: Connection) -> Forward:
        return Forward(*secure) if conn.id % 2 else Forward(*plain)

    server = serve(secure, tls=looking, on_accept=on_accept)
    with over_tls(server.address, ssl.create_default_context(cadata=looking.certificate)) as client:
        assert said(client, b"inside") == b"inside"
    with connect(server.address) as other:
        assert said(other, b"plain") == b"plain"


def test_the_command_takes_both_at_one_port(own: Certificate, echo: Echo, tmp_path: Path) -> None:
    target = address_text(echo.address)
    options = ["--tls-cert", str(own.cert), "--tls-key", str(own.key), "--tls-auto", "--preread-timeout", "50ms"]
    with ProxyCommand("0", target, tmp_path, *options) as proxy:
        assert proxy.first_line.endswith(f", with TLS and without, forwarding to {target}\n")
        with over_tls(proxy.address, trusting(own)) as client:
            assert said(client, b"inside") == b"inside"
        with connect(proxy.address) as other:
            assert said(other, b"plain") == b"plain"


def test_a_file_has_it_and_what_is_looked_into_has_the_settings_of_upstreams(own: Certificate, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    text = '[[listener]]\nlisten = "127.0.0.1:0"\nforward_to = "b:1"\ntls.auto = true\ntls.intercept = true\n'
    file.write_text(f'{text}upstream.ca = "{own.cert}"\ncallbacks.preread_timeout = 0.5\n')
    options = parse(["--config", str(file)])
    check(options.listeners, options.command, options.values, has_file=True)
    (listener,) = options.listeners
    assert (listener.tls.auto, listener.target().tls, listener.callbacks.preread_timeout) == (True, None, 0.5)
    assert listener.what == "looking inside TLS if any, forwarding to b:1"
    file.write_text(f'{text}upstream.ca = "missing"\n')
    with pytest.raises(ConfigError, match=r"upstream\.ca missing: no such file"):
        parse(["--config", str(file)]).listeners[0].check_tls()


def test_auto_alone_has_no_certificate(serve: Serve, own: Certificate) -> None:
    with pytest.raises(
        ConfigError, match=r'tls: "auto" alone has no certificate; write Tls\(cert, key, auto=True\) or'
    ):
        serve("a:1", tls="auto")
    options = parse(["9090", "a:1", "--tls-auto"])
    with pytest.raises(ConfigError, match="--tls-auto: there is no certificate; add --tls-cert FILE or --intercept"):
        check(options.listeners, options.command, options.values, has_file=False)
    with pytest.raises(TypeError, match="auto"):
        Tls(own.cert, own.key, auto=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean auto"):
        Tls(own.cert, own.key, atuo=True)  # type: ignore[call-arg]
