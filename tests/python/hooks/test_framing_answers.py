"""Requests that a callback answers itself, or replaces: those that have gone on are those that are answered."""

from __future__ import annotations

import socket
from typing import Any

from conftest import Serve
from interpose import Side, framing
from support.addresses import address_of
from support.dialogues import Recorder
from support.peers import Served, connect, read_exactly

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def answering(answers: dict[bytes, bytes]) -> Served:
    """Return a server that answers each text of a client."""

    def serve(sock: socket.socket) -> None:
        while data := sock.recv(1000):
            sock.sendall(answers[data])

    return Served(serve)


def test_a_head_that_a_callback_answers_does_not_take_the_body_of_the_next_answer(serve: Serve) -> None:
    answers = Recorder()

    def on_client_recv(side: Side, message: bytes) -> bytes | None:
        if not message.startswith(b"HEAD"):
            return None
        side.send(EMPTY)
        return b""

    with answering({GET: BODY}) as upstream:
        settings: Any = {"on_client_recv": on_client_recv, "on_upstream_recv": answers}
        server = serve(upstream.address, framing=framing.http1(), **settings)
        with connect(address_of(server)) as client:
            for _ in range(2):
                client.sendall(HEAD)
                assert read_exactly(client, len(EMPTY)) == EMPTY
                client.sendall(GET)
                assert read_exactly(client, len(BODY)) == BODY
    assert answers.seen[False] == [BODY] * 2
