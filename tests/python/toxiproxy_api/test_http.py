"""Clients of HTTP that are slow, hostile or unusual: each is bounded, and harms neither the others nor the traffic."""

from __future__ import annotations

import json
import re
import socket
import time

import pytest
from interpose.toxiproxy import ToxiproxyApi, _http_server, _message, _proxy
from interpose.toxiproxy._message import Request, RequestReader
from interpose.toxiproxy._refusal import RefusedError
from support.deadline import poll
from support.peers import Echo, connect, echo, ending, reset
from support.toxiproxy_client import Client

VERSION = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
CREATE = b'{"name": "a", "upstream": "127.0.0.1:1", "enabled": false}'
CHUNKED = b"POST /proxies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def asked(api: ToxiproxyApi, data: bytes, *, ends: bool = True) -> list[int]:
    """Send bytes, and return the statuses of the responses until the end."""
    with connect(api.address) as sock:
        sock.sendall(data)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        how, found = ending(sock)
        assert how == "eof", found
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]


def test_one_connection_may_ask_again_and_ahead(api: ToxiproxyApi) -> None:
    assert asked(api, VERSION * 40) == [200] * 40
    assert asked(api, b"\r\n" + VERSION + b"\r\n" + VERSION) == [200, 200]
    with connect(api.address) as sock:
        for _ in range(3):
            sock.sendall(VERSION)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_it_closes_where_it_is_asked_to(api: ToxiproxyApi) -> None:
    assert asked(api, b"GET /version HTTP/1.1\r\nConnection: close\r\n\r\n" + VERSION, ends=False) == [200]
    assert asked(api, b"GET /version HTTP/1.0\r\n\r\n" + VERSION, ends=False) == [200]
    assert asked(api, b"GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + VERSION) == [200, 200]


def test_bodies_in_chunks_are_read(api: ToxiproxyApi, client: Client) -> None:
    first, second = CREATE[:10], CREATE[10:]
    body = b"%x\r\n%s\r\n%X;more=1\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(first), first, len(second), second)
    assert asked(api, CHUNKED + body + VERSION) == [201, 200]
    assert list(client.done("GET", "/proxies")) == ["a"]


def test_a_client_that_waits_is_told_to_go_on(api: ToxiproxyApi) -> None:
    head = b"POST /proxies HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(CREATE)
    with connect(api.address) as sock:
        sock.sendall(head)
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(CREATE)
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 Created\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n name: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000), 413),
        (CHUNKED + b"x\r\n", 400),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"\r\n", 400),
        (CHUNKED + b"100001\r\n", 413),
        (CHUNKED + b"fffffffff\r\n", 400),
        (CHUNKED + b"1\r\nab\r\n", 400),
        (CHUNKED + b"0" * 20_000, 400),
        (CHUNKED + b"0\r\n" + b"a" * 20_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nname: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_and_ends(api: ToxiproxyApi, data: bytes, status: int) -> None:
    assert asked(api, data + VERSION * 10, ends=False) == [status]


def test_the_longest_body_passes_and_a_longer_one_hears_why(api: ToxiproxyApi, client: Client) -> None:
    fits = CREATE + b" " * (_message.MOST_BODY - len(CREATE))
    assert client.call("POST", "/proxies", fits).status == 201
    head = b"POST /proxies HTTP/1.1\r\nContent-Length: 90000000\r\n\r\n"
    # The answer comes although the client is in the middle of sending.
    assert asked(api, head + b"x" * 300_000, ends=False) == [413]


def test_a_request_is_the_same_wherever_it_is_cut() -> None:
    chunks = b"5\r\nhello\r\n3\r\n, w\r\n0\r\nA: b\r\n\r\n"
    data = CHUNKED + chunks + b"POST /x?y=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + VERSION
    for size in (1, 2, 3, 5, 7, 11, len(data)):
        reader, found = RequestReader(), list[Request]()
        for begin in range(0, len(data), size):
            reader.feed(data[begin : begin + size])
            while (request := reader.next()) is not None:
                found.append(request)
        assert [(one.path, one.body) for one in found] == [("/proxies", b"hello, w"), ("/x", b"abc"), ("/version", b"")]
        assert not reader.is_amid


def test_a_reader_keeps_little() -> None:
    reader = RequestReader()
    for _ in range(_message.MOST_HEAD // 1024):
        reader.feed(b"x" * 1024)
        assert reader.next() is None
    reader.feed(b"x")
    with pytest.raises(RefusedError) as caught:
        reader.next()
    assert caught.value.status == 431


def test_a_request_that_takes_too_long_hears_why(
    api: ToxiproxyApi, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http_server, "REQUEST_SECONDS", 0.3)
    assert asked(api, b"GET /version HT", ends=False) == [408]
    assert asked(api, b"POST /proxies HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", ends=False) == [408]
    with connect(api.address) as sock:
        begin = time.monotonic()
        # A byte now and then does not help it.
        sock.settimeout(0.05)
        found = b""
        for letter in VERSION * 10:
            try:
                sock.send(bytes([letter]))
                found += sock.recv(1000)
            except TimeoutError:
                pass
            except OSError:
                break
            if found:
                break
        assert b" 408 " in found
        assert time.monotonic() - begin < 3.0
    assert client.call("GET", "/version").status == 200


def test_a_client_that_is_silent_is_closed(api: ToxiproxyApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http_server, "IDLE_SECONDS", 0.2)
    assert asked(api, b"", ends=False) == []
    assert asked(api, VERSION, ends=False) == [200]


def test_a_client_that_does_not_read_holds_up_no_one(
    api: ToxiproxyApi, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http_server, "WRITE_SECONDS", 0.5)
    body = [{"name": f"{n}", "upstream": "127.0.0.1:1", "enabled": False} for n in range(500)]
    client.done("POST", "/populate", body)
    with connect(api.address) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.sendall(b"GET /proxies HTTP/1.1\r\n\r\n" * 400)
        for _ in range(5):
            assert client.call("GET", "/version").status == 200
        visitors = api._http._visitors  # pyright: ignore[reportPrivateUsage]
        poll(lambda: not visitors or None, 10.0, "the client that does not read is closed")


def test_many_silent_clients_keep_no_one_out(
    api: ToxiproxyApi, client: Client, upstream: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http_server, "MOST_VISITORS", 5)
    address = client.proxy(upstream.address)
    silent = [connect(api.address) for _ in range(20)]
    try:
        for sock in silent:
            sock.sendall(b"POST /proxies HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        for _ in range(10):
            assert client.call("GET", "/version").status == 200
        with connect(address) as sock:
            assert echo(sock, b"hello") == b"hello"
    finally:
        for sock in silent:
            sock.close()


def test_clients_that_go_away_are_forgotten(api: ToxiproxyApi, client: Client) -> None:
    for data in (b"", b"GET", VERSION, VERSION * 1000):
        sock = connect(api.address)
        sock.sendall(data)
        reset(sock)
    assert client.call("GET", "/version").status == 200
    visitors = api._http._visitors  # pyright: ignore[reportPrivateUsage]
    poll(lambda: len(visitors) <= 1 or None, 5.0, "nobody is left")


def test_a_defect_is_one_answer_and_a_line_in_the_log(
    api: ToxiproxyApi, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> object:
        raise ZeroDivisionError

    client.done("POST", "/proxies", json.loads(CREATE))
    with monkeypatch.context() as patched:
        patched.setattr(_proxy.Proxy, "shown", broken)
        found = client.call("GET", "/proxies")
    assert (found.status, found.error) == (500, "internal error; the log has it")
    assert "GET /proxies failed" in caplog.text
    assert client.call("GET", "/proxies").status == 200
    del api


def test_no_request_waits_for_traffic_nor_traffic_for_requests(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address)
    client.toxic("bandwidth", rate=1)
    with connect(address) as slow, connect(address) as other:
        slow.sendall(b"x" * 1_000_000)
        for _ in range(20):
            assert client.call("GET", "/proxies", seconds=5.0).status == 200
        client.done("POST", "/proxies/redis", {"enabled": False})
        assert ending(other) == ("eof", b"")
