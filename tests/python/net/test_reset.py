"""A reset while both directions are stalled (RS-03): what was read is delivered if it can be, and the bound holds."""

from __future__ import annotations

import socket
import time

import pytest
from support.deadline import poll
from support.measurements import Record
from support.peers import Served, connect, reset

from .conftest import Start

HALF_CLOSE = 2.0


def fill(client: socket.socket) -> None:
    """Write without reading until nothing moves for a while: every buffer on the way is full, both ways."""
    client.setblocking(False)
    last = time.monotonic()
    while time.monotonic() - last < 0.3:
        try:
            client.send(bytes(65536))
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)  # how long nothing moves is the very thing that is measured


@pytest.mark.parametrize("how", ["reset", "close"])
def test_client_leaves_an_echo_it_never_read(start: Start, how: str, record_property: Record) -> None:
    """The upstream waits in a write, so it reads nothing more; the reset must reach it within `half_close` even so."""
    seen: list[str] = []

    def upstream(sock: socket.socket) -> None:
        try:
            while data := sock.recv(65536):
                sock.sendall(data)
            seen.append("eof")
        except ConnectionError:
            seen.append("reset")

    with Served(upstream) as served:
        proxy = start({"forward": served.address, "timeouts": {"half_close": HALF_CLOSE}})
        client = connect(proxy.address)
        fill(client)
        begin = time.monotonic()
        if how == "reset":
            reset(client)
        else:
            client.close()  # with unread bytes the kernel makes a reset of it
        poll(lambda: proxy.closed("client_reset") == 1, 10, "the connection is over")
        taken = time.monotonic() - begin
        record_property("taken", taken)
        poll(lambda: seen, 5, "the upstream has seen the end")
    assert seen == ["reset"]
    assert taken < HALF_CLOSE + 1.0
    for read, delivered, undeliverable in (proxy.stats()["to_upstream"], proxy.stats()["to_client"]):
        assert read == delivered + undeliverable
