"""Examples that change what passes, or end it."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.dialogues import DIALOGUES, Speaker, pg, said, speak
from support.example_scripts import address_text
from support.peers import Address, Echo, Served, connect, ending, read_exactly
from support.processes import program, run

from .conftest import Start

# Two requests with bodies of either kind, one without, and a body that looks like a head.
REQUESTS = [
    (b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 22\r\n\r\n", b"GET /\r\nHost: body\r\n\r\n!"),
    (b"GET /b HTTP/1.1\r\nAccept: */*\r\nhost:127.0.0.1\r\n\r\n", b""),
    (
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n",
        b"5\r\nHost:\r\n4;a=b\r\n\r\n\r\n\r\n0\r\nHost: trailer\r\n\r\n",
    ),
    (b"GET /d HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Host: kept\r\n\r\n", b""),
]
SENT = b"".join(head + body for head, body in REQUESTS)
WANTED = (
    SENT.replace(b"Host: 127.0.0.1:8080", b"Host: site.test")
    .replace(b"host:127.0.0.1", b"Host: site.test")
    .replace(b"Host: x", b"Host: site.test")
    .replace(b"Host: 127.0.0.1\r\nX", b"Host: site.test\r\nX")
)


class Site(http.server.BaseHTTPRequestHandler):
    """Answers with the name it was asked by, and what it was sent."""

    protocol_version = "HTTP/1.1"
    hosts: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.hosts.append(self.headers["Host"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def site() -> Iterator[Address]:
    Site.hosts.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()


def test_host_is_another_for_the_server_and_the_client_sees_nothing(start: Start, site: Address) -> None:
    example = start("rewrite_host", address_text(site), "site.test")
    client = http.client.HTTPConnection(*example.address, timeout=5)
    for body in (b"", b"x" * 200_000, b"Host: body\r\n\r\n"):
        client.request("POST", "/", body)
        assert client.getresponse().read() == body
    client.close()
    assert Site.hosts == ["site.test"] * 3


def test_curl_sees_the_site(start: Start, site: Address, tmp_path: Path) -> None:
    curl = program("curl", "curl")
    example = start("rewrite_host", address_text(site), "site.test")
    url = f"http://{address_text(example.address)}/"
    assert run([curl, "-sS", "--data-binary", "abc", url, url], tmp_path) == b"abcabc"
    assert Site.hosts == ["site.test"] * 2


def test_every_byte_arrives_with_four_hosts_changed(start: Start) -> None:
    got: list[bytes] = []
    over = threading.Event()

    def take(sock: socket.socket) -> None:
        got.append(read_exactly(sock, len(WANTED) + 1))
        over.set()

    with Served(take) as upstream:
        example = start("rewrite_host", address_text(upstream.address), "site.test")
        with connect(example.address) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for index in range(len(SENT)):
                client.sendall(SENT[index : index + 1])
        assert over.wait(5)
    assert got == [WANTED]


def test_a_head_that_is_never_whole_arrives_with_the_end(start: Start) -> None:
    got: list[tuple[str, bytes]] = []
    over = threading.Event()

    def take(sock: socket.socket) -> None:
        got.append(ending(sock))
        over.set()

    with Served(take) as upstream:
        example = start("rewrite_host", address_text(upstream.address), "site.test")
        with connect(example.address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHo")
        assert over.wait(5)
    assert got == [("eof", b"GET / HTTP/1.1\r\nHo")]


def test_after_an_upgrade_nothing_is_touched(start: Start, echo: Echo) -> None:
    example = start("rewrite_host", address_text(echo.address), "site.test")
    asked = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nHost: %b\r\n\r\n"
    with connect(example.address) as client:
        client.sendall(asked % b"127.0.0.1" + b"\x81Host: a\r\n\r\n")
        wanted = asked % b"site.test" + b"\x81Host: a\r\n\r\n"
        assert read_exactly(client, len(wanted)) == wanted
        client.sendall(b"Host: b\r\n\r\n")
        assert read_exactly(client, 11) == b"Host: b\r\n\r\n"


def test_a_query_is_another_for_the_server(start: Start) -> None:
    """Whatever its length, and behind the start-up."""
    _, messages = DIALOGUES["postgres"]
    old, new = pg(b"Q", b"SELECT 1\0"), pg(b"Q", b"SELECT 100\0")
    wanted = [(by_client, new if message == old else message) for by_client, message in messages]
    with Speaker(wanted) as upstream:
        example = start("rewrite_query", address_text(upstream.address), "SELECT 1", "SELECT 100")
        with connect(example.address) as client:
            assert speak(client, messages, True, 3) == b"".join(said(messages, False))
        assert upstream.wait() == b"".join(said(wanted, True))


@pytest.mark.parametrize("pieces", [[b"SELECT 1; DROP TABLE t"], [b"SELECT 1; DR", b"OP TAB", b"LE t"]], ids=len)
def test_what_is_forbidden_is_never_whole(start: Start, pieces: list[bytes]) -> None:
    got: list[tuple[str, bytes]] = []
    over = threading.Event()

    def server(sock: socket.socket) -> None:
        sock.sendall(b"hello")
        got.append(ending(sock))
        over.set()

    with Served(server) as upstream:
        example = start("block", address_text(upstream.address), "DROP TABLE")
        with connect(example.address) as client:
            assert read_exactly(client, 5) == b"hello"
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                client.sendall(piece)
            assert ending(client) == ("eof", b"")
        example.says(r"<client 127\.0\.0\.1:\d+> sent b'DROP TABLE': closed")
        example.says(r"<Connection 1 .* closed>: \d+ bytes passed")
        assert over.wait(5)
    ((how, data),) = got
    assert how == "eof"
    assert b"SELECT 1; DROP TABLE".startswith(data)
    assert len(data) >= len(b"SELECT 1; ")
    assert b"DROP TABLE" not in data


def test_what_is_not_forbidden_passes(start: Start, echo: Echo) -> None:
    example = start("block", address_text(echo.address), "DROP TABLE")
    with connect(example.address) as client:
        for text in (b"DROP", b" TABL", b"T", b"E", b"DROP", b"DROP", b" ", b"TABLE"[:4]):
            client.sendall(text)
            assert read_exactly(client, len(text)) == text
