"""Peers that abuse TLS: floods of key updates and of tickets, renegotiation, data before the handshake is over.

OpenSSL plays them; `openssl s_client` takes `K` for a key update that it wants an answer to, and `R` for a
renegotiation.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Serve
from interpose import CloseReason, Forward, TheServer, Tls, TlsUpstream
from support.addresses import address_of
from support.certificates import Certificate, self_signed, trusting
from support.deadline import poll
from support.peers import Echo, connect, free_port
from support.peers import echo as said
from support.processes import Child, program, run
from support.proxies import ProxyProcess
from support.tls_peers import Ends, over_tls


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


@contextmanager
def s_client(server: TheServer, folder: Path, *options: str) -> Generator[Child]:
    host, port = address_of(server)
    argv = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", *options]
    with Child(argv, folder, stdin=subprocess.PIPE) as child:
        child.wait_for("Verify return code")
        yield child


def typed(child: Child, line: bytes) -> None:
    stream = child.popen.stdin
    assert stream is not None
    try:
        stream.write(line)
        stream.flush()
    except BrokenPipeError:
        assert child.popen.poll() is not None


def key_update(client: Child) -> bool:
    """Have a client ask for a key update; return whether it goes on."""
    before = client.output().count("KEYUPDATE")
    typed(client, b"K\n")

    def is_done() -> bool:
        return client.popen.poll() is not None or client.output().count("KEYUPDATE") > before

    poll(is_done, 10, "the key update, or the end")
    return client.popen.poll() is None


def still_serves(server: TheServer, own: Certificate) -> None:
    with over_tls(server.address, trusting(own)) as client:
        assert said(client, b"hello") == b"hello"


def test_a_flood_of_key_updates_ends_the_connection_and_some_do_not(
    echo: Echo, serve: Serve, own: Certificate, tmp_path: Path
) -> None:
    ends = Ends()
    server = serve(echo.address, tls=Tls(own.cert, own.key), on_close=ends.on_close)
    with s_client(server, tmp_path, "-tls1_3") as client:
        assert all(key_update(client) for _ in range(20))
        typed(client, b"between\n")
        client.wait_for("^between$")
        assert not all(key_update(client) for _ in range(60))
        end = ends.next()
    assert end.reason is CloseReason.CLIENT_TLS_FAILED
    assert "TooManyKeyUpdateRequests" in str(end.error)
    still_serves(server, own)


def test_a_client_gets_no_renegotiation(echo: Echo, serve: Serve, own: Certificate, tmp_path: Path) -> None:
    ends = Ends()
    server = serve(echo.address, tls=Tls(own.cert, own.key), on_close=ends.on_close)
    with s_client(server, tmp_path, "-tls1_2") as client:
        typed(client, b"R\n")
        client.wait(10)
        assert "no renegotiation" in client.output()
    assert ends.next().reason is not CloseReason.FINISHED
    still_serves(server, own)


@contextmanager
def s_server(own: Certificate, folder: Path, *options: str) -> Generator[tuple[Child, int]]:
    port = free_port()
    argv = [program("openssl", "openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(own.cert)]
    with Child([*argv, "-key", str(own.key), *options], folder, stdin=subprocess.PIPE) as child:
        child.wait_for("ACCEPT")
        yield child, port


def test_an_upstream_gets_no_renegotiation(serve: Serve, own: Certificate, tmp_path: Path) -> None:
    with s_server(own, tmp_path, "-tls1_2") as (upstream, port):
        server = serve(Forward("localhost", port, tls=TlsUpstream(own.cert)))
        with connect(server.address) as client:
            client.sendall(b"before\n")
            upstream.wait_for("^before$")
            typed(upstream, b"R\n")
            # Some versions of OpenSSL end a connection whose client does not renegotiate.
            with contextlib.suppress(ConnectionResetError):
                client.sendall(b"behind\n")
            upstream.wait_for("no renegotiation|^behind$")
        assert "ACCEPT" in upstream.output()
        assert upstream.output().count("CIPHER is") == 1


def test_a_flood_of_tickets_takes_no_memory(own: Certificate, tmp_path: Path) -> None:
    """Each has 300 bytes and the certificate in it: kept, they would be 10 MB."""
    with s_server(own, tmp_path, "-tls1_3", "-num_tickets", "10000") as (_, port):
        upstream = {"ca": str(own.cert)}
        servers = [{"forward": ["localhost", port], "tls_upstream": upstream}]
        with ProxyProcess(tmp_path, servers) as proxy:

            def flooded() -> int:
                with connect(proxy.address):
                    poll(lambda: proxy.stats()["active"] == 1, 10, "the handshake")
                    proxy.descriptors()
                poll(lambda: proxy.stats()["active"] == 0, 10, "the end")
                return proxy.resident()

            # What the first takes is needed by any connection.
            assert -(flooded() - flooded()) < 4 << 20


def test_data_before_the_handshake_is_over_is_not_offered(
    echo: Echo, serve: Serve, own: Certificate, tmp_path: Path
) -> None:
    server = serve(echo.address, tls=Tls(own.cert, own.key))
    early = tmp_path / "early"
    early.write_text("data before the handshake is over\n")
    with s_client(server, tmp_path, "-tls1_3", "-sess_out", "session") as client:
        typed(client, b"wait for what comes before\n")
        client.wait_for("^wait for what comes before$")
        typed(client, b"Q\n")
        client.wait(10)
        assert "New Session Ticket" in client.output()
        assert "Max Early Data: 0" in client.output()
    options = ("-tls1_3", "-sess_in", "session", "-early_data", str(early))
    host, port = address_of(server)
    argv = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", *options]
    shown = run(argv, tmp_path).decode(errors="replace")
    assert "Early data was accepted" not in shown
    assert "data before" not in shown
