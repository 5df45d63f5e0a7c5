"""Load in a process of its own, with its own descriptors: an echoing upstream, or thousands of clients.

`load_process.py upstream` prints its address and echoes until standard input ends.
`load_process.py hold HOST PORT COUNT` opens COUNT connections, echoes on all of them twice while all are open.
`load_process.py churn HOST PORT COUNT AT_ONCE` connects, echoes and closes COUNT times.
Each prints one JSON line per step.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time

MESSAGE = 64
PATIENCE = 60.0


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def message(number: int) -> bytes:
    """Different for each connection, so that a mixed-up answer is seen."""
    return b"%064d" % number


def upstream() -> None:
    """One thread, epoll, no buffers: a message is small, so what was read can be written at once."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(4096)
    listening.setblocking(False)
    say(address=listening.getsockname())
    poller = select.epoll()
    poller.register(listening, select.EPOLLIN)
    poller.register(sys.stdin, select.EPOLLIN)
    open_ones: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == listening.fileno():
                accept_some(listening, poller, open_ones)
            elif descriptor == sys.stdin.fileno():
                return
            else:
                turn(descriptor, open_ones)


def accept_some(listening: socket.socket, poller: select.epoll, open_ones: dict[int, socket.socket]) -> None:
    for _ in range(64):
        try:
            sock, _ = listening.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        open_ones[sock.fileno()] = sock
        poller.register(sock, select.EPOLLIN)


def turn(descriptor: int, open_ones: dict[int, socket.socket]) -> None:
    sock = open_ones[descriptor]
    try:
        data = sock.recv(65536)
        if data:
            sock.send(data)
            return
    except ConnectionError:
        pass
    del open_ones[descriptor]
    sock.close()


def echo_all(poller: select.epoll, clients: dict[int, tuple[socket.socket, int]], offset: int) -> None:
    """Every client sends, then every answer is awaited, in the order in which they come."""
    for sock, number in clients.values():
        sock.sendall(message(number + offset))
    waiting = dict.fromkeys(clients, b"")
    end = time.monotonic() + PATIENCE
    while waiting:
        ready = poller.poll(1.0)
        if not ready and time.monotonic() > end:
            raise TimeoutError(f"{len(waiting)} clients without an answer")
        for descriptor, _ in ready:
            sock, number = clients[descriptor]
            got = waiting[descriptor] + sock.recv(MESSAGE)
            waiting[descriptor] = got
            if len(got) == MESSAGE:
                if got != message(number + offset):
                    raise ValueError(f"client {number} got {got!r}")
                del waiting[descriptor]


def hold(address: tuple[str, int], count: int) -> None:
    poller = select.epoll()
    clients: dict[int, tuple[socket.socket, int]] = {}
    for number in range(count):
        sock = socket.create_connection(address, PATIENCE)
        clients[sock.fileno()] = (sock, number)
        poller.register(sock, select.EPOLLIN)
    echo_all(poller, clients, 0)
    say(open=len(clients))
    sys.stdin.readline()
    echo_all(poller, clients, count)
    for sock, _ in clients.values():
        sock.close()
    say(closed=len(clients))


class Churn:
    """So many connections at once, each replaced when it ends, until enough have been made."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.address = address
        self.count = count
        self.made = 0
        self.done = 0
        self.poller = select.epoll()
        self.clients: dict[int, tuple[socket.socket, int]] = {}

    def begin(self) -> None:
        if self.made == self.count:
            return
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self.address)
        self.clients[sock.fileno()] = (sock, self.made)
        self.poller.register(sock, select.EPOLLOUT)
        self.made += 1

    def turn(self, descriptor: int, event: int) -> None:
        sock, number = self.clients[descriptor]
        if event & select.EPOLLOUT:
            sock.send(message(number))
            self.poller.modify(descriptor, select.EPOLLIN)
            return
        got = sock.recv(MESSAGE)
        if got != message(number):
            raise ValueError(f"client {number} got {got!r}")
        del self.clients[descriptor]
        sock.close()
        self.done += 1
        self.begin()

    def run(self, at_once: int) -> None:
        for _ in range(at_once):
            self.begin()
        while self.clients:
            ready = self.poller.poll(PATIENCE)
            if not ready:
                raise TimeoutError(f"nothing moves after {self.done} connections")
            for descriptor, event in ready:
                self.turn(descriptor, event)


def churn(address: tuple[str, int], count: int, at_once: int) -> None:
    begin = time.monotonic()
    load = Churn(address, count)
    load.run(at_once)
    say(done=load.done, seconds=time.monotonic() - begin)


def main(arguments: list[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments[0] == "upstream":
        upstream()
        return
    mode, host, port, *numbers = arguments
    counts = [int(number) for number in numbers]
    if mode == "hold":
        hold((host, int(port)), *counts)
    else:
        churn((host, int(port)), *counts)


if __name__ == "__main__":
    main(sys.argv[1:])
