"""Netcat in its many kinds (HC-10): what a pipe of them prints through the proxy is what it prints without it."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.deadline import poll
from support.payloads import MEBIBYTE, random_file
from support.peers import Address, Served, connect, ending, free_port
from support.processes import Child, program, run

from .conftest import Through

pytestmark = pytest.mark.xdist_group("netcat")

# Placeholders stand for host and port. All of these end their half when standard input ends, and go on reading.
TALKERS = {
    "openbsd": ("nc.openbsd", "netcat-openbsd", ["-N", "{host}", "{port}"]),
    "ncat": ("ncat", "ncat", ["{host}", "{port}"]),
    "socat": ("socat", "socat", ["-t20", "-", "TCP:{host}:{port}"]),
    "socat_shut_down": ("socat", "socat", ["-t20", "STDIO", "TCP:{host}:{port},shut-down"]),
}
# These write and go, whatever the server has to say.
WRITERS = {
    "openbsd_q0": ("nc.openbsd", "netcat-openbsd", ["-q0", "{host}", "{port}"]),
    "ncat_send_only": ("ncat", "ncat", ["--send-only", "{host}", "{port}"]),
    "socat_u": ("socat", "socat", ["-u", "-", "TCP:{host}:{port}"]),
    "traditional_q1": ("nc.traditional", "netcat-traditional", ["-q1", "{host}", "{port}"]),
}
# These answer with what the command inside prints, or with their standard input.
LISTENERS = {
    "ncat": ("ncat", "ncat", ["-l", "{host}", "{port}"]),
    "socat": ("socat", "socat", ["-t20", "TCP-LISTEN:{port},bind={host},reuseaddr", "EXEC:sha256sum"]),
    "openbsd": ("nc.openbsd", "netcat-openbsd", ["-l", "-N", "{host}", "{port}"]),
}
Variant = tuple[str, str, list[str]]


def argv_of(variant: Variant, address: Address) -> list[str]:
    """The command line for an address."""
    name, package, arguments = variant
    host, port = address
    return [program(name, package), *(text.format(host=host, port=port) for text in arguments)]


class Heard:
    """A server that notes what each connection sent and how it ended."""

    def __init__(self) -> None:
        self.connections: list[tuple[str, int, str]] = []

    def note(self, how: str, data: bytes) -> None:
        """One connection is read to its end."""
        self.connections.append((how, len(data), hashlib.sha256(data).hexdigest()))

    def answer_after_the_end(self, sock: socket.socket) -> None:
        """The answer depends on every byte of the question."""
        how, data = ending(sock)
        self.note(how, data)
        sock.sendall(hashlib.sha256(data).digest() * 50_000)

    def answer_first(self, sock: socket.socket) -> None:
        """The server has its say and ends its half before it reads anything."""
        sock.sendall(b"welcome" * 100_000)
        sock.shutdown(socket.SHUT_WR)
        self.note(*ending(sock))

    def echo(self, sock: socket.socket) -> None:
        """Both halves are busy at once."""
        digest, count = hashlib.sha256(), 0
        while data := sock.recv(65536):
            digest.update(data)
            count += len(data)
            sock.sendall(data)
        self.connections.append(("eof", count, digest.hexdigest()))


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("netcat") / "question"
    random_file(path, 3 * MEBIBYTE + 1)
    return path


@pytest.mark.parametrize("behaviour", ["answer_after_the_end", "answer_first", "echo"])
@pytest.mark.parametrize("talker", list(TALKERS))
def test_client_that_half_closes(through: Through, question: Path, tmp_path: Path, talker: str, behaviour: str) -> None:
    heard = Heard()
    serve: Callable[[socket.socket], None] = getattr(heard, behaviour)
    with Served(serve) as served:
        outputs: list[bytes] = []
        for address in (served.address, through(f"127.0.0.1:{served.address[1]}").address):
            with question.open("rb") as source:
                outputs.append(run(argv_of(TALKERS[talker], address), tmp_path, seconds=20, stdin=source))
        poll(lambda: len(heard.connections) == 2, 5, "the server has seen both ends")
    direct, proxied = outputs
    assert len(direct) > 0
    assert hashlib.sha256(proxied).digest() == hashlib.sha256(direct).digest()
    assert heard.connections[1] == heard.connections[0]


@pytest.mark.parametrize("writer", list(WRITERS))
def test_client_that_only_writes(through: Through, question: Path, tmp_path: Path, writer: str) -> None:
    heard = Heard()
    with Served(lambda sock: heard.note(*ending(sock))) as served:
        for address in (served.address, through(f"127.0.0.1:{served.address[1]}").address):
            with question.open("rb") as source:
                run(argv_of(WRITERS[writer], address), tmp_path, seconds=20, stdin=source)
        poll(lambda: len(heard.connections) == 2, 5, "the server has seen both ends")
    assert heard.connections[0][1] == question.stat().st_size
    assert heard.connections[1] == heard.connections[0]


def converse(address: Address, question: bytes) -> tuple[str, bytes]:
    """Write all of it and end our half while reading to the end."""
    with connect(address, 20.0) as client:

        def send() -> None:
            client.sendall(question)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        found = ending(client)
        sender.join(5.0)
        return found


def listen_first(address: Address, question: bytes) -> tuple[str, bytes]:
    """Read to the end, then write. A netcat that hears the end while it still has something to say may not say it."""
    with connect(address, 20.0) as client:
        found = ending(client)
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        return found


def is_listening(port: int) -> bool:
    """Whether somebody listens there, found out without a connection: netcat takes only one."""
    wanted = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1] == wanted and row[3] == "0A" for row in rows)


@pytest.mark.parametrize("kind", list(LISTENERS))
def test_server_that_serves_once(through: Through, question: Path, tmp_path: Path, kind: str) -> None:
    """The listening side is the netcat, directly and through the proxy."""
    data = question.read_bytes()
    found: list[tuple[tuple[str, bytes], bytes]] = []
    for proxied in (False, True):
        port = free_port()
        taken = tmp_path / f"taken{proxied}"
        with question.open("rb") as source, taken.open("wb") as sink:
            argv = argv_of(LISTENERS[kind], ("127.0.0.1", port))
            with Child(argv, tmp_path, stdin=source, stdout=sink) as server:
                poll(partial(is_listening, port), 5, f"{kind} listens")
                address = through(f"127.0.0.1:{port}").address if proxied else ("127.0.0.1", port)
                answer = (converse if kind == "socat" else listen_first)(address, data)
                assert server.wait(10) == 0, server.output()
        found.append((answer, taken.read_bytes()))
    assert found[1] == found[0]
    checksum = hashlib.sha256(data).hexdigest().encode() + b"  -\n"
    assert found[0] == ((("eof", data), data) if kind != "socat" else (("eof", checksum), b""))
