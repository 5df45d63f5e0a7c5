"""System calls that the system refuses to the proxy (a sandbox, a security module), while nothing ails the peers."""

from __future__ import annotations

import ast
import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from peers import Address, address_of, connect, ending, listener
from processes import Child
from scripts import python_argv

# The calls' numbers, and that of seccomp(2).
NUMBERS = {
    "x86_64": {"splice": 275, "sendto": 44, "recvfrom": 45, "shutdown": 48, "seccomp": 317},
    "aarch64": {"splice": 76, "sendto": 206, "recvfrom": 207, "shutdown": 210, "seccomp": 277},
}.get(os.uname().machine if sys.platform == "linux" else "", {})

pytestmark = pytest.mark.skipif(not NUMBERS, reason="needs Linux on a machine whose calls are known here")

PROXY = """
import ctypes, struct, sys
from interpose import TheServer
port, call, error, seccomp = map(int, sys.argv[1:])
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(text)))
if libc.syscall(seccomp, 1, 1, program) != 0:
    print("no seccomp", flush=True)
with TheServer("", 0, ("127.0.0.1", port)) as server:
    print(server.address[1], flush=True)
    sys.stdin.readline()
print({str(reason): count for reason, count in server.stats.closed.items() if count}, flush=True)
"""


class Refused:
    """A proxy that one call is refused to."""

    def __init__(self, child: Child, listening: socket.socket) -> None:
        assert child.popen.stdin is not None
        assert child.popen.stdout is not None
        self._child, self._stdin, self._stdout = child, child.popen.stdin, child.popen.stdout
        self._listening = listening
        first = self._stdout.readline().decode().strip()
        if first == "no seccomp":
            pytest.skip("seccomp is not to be had here")
        self.address: Address = ("127.0.0.1", int(first))

    @contextmanager
    def pair(self) -> Generator[tuple[socket.socket, socket.socket]]:
        """Connect through it."""
        with connect(self.address) as client, self._listening.accept()[0] as upstream:
            # Far less than any limit of the proxy's.
            client.settimeout(3)
            upstream.settimeout(3)
            yield client, upstream

    def closed(self) -> dict[str, int]:
        """End it; the connections by reason."""
        self._stdin.write(b"\n")
        self._stdin.flush()
        closed: dict[str, int] = ast.literal_eval(self._stdout.readline().decode())
        assert self._child.wait(10) == 0, self._child.output()
        return closed


@contextmanager
def refusing(folder: Path, call: str, error: int) -> Generator[Refused]:
    """A proxy to which `call` is refused with `error`."""
    with ExitStack() as stack:
        listening = stack.enter_context(listener())
        numbers = (address_of(listening)[1], NUMBERS[call], error, NUMBERS["seccomp"])
        argv = python_argv(PROXY, *map(str, numbers))
        child = stack.enter_context(Child(argv, folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        yield Refused(child, listening)


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "ENOMEM", "EINVAL", "EIO"])
def test_a_stream_that_cannot_be_spliced_is_copied(tmp_path: Path, error: str) -> None:
    data = bytes(range(256)) * (1 << 16)

    def send(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    with refusing(tmp_path, "splice", getattr(errno, error)) as proxy:
        for sends in (0, 1):
            with proxy.pair() as pair:
                sending = threading.Thread(target=send, args=(pair[sends],))
                sending.start()
                end, received = ending(pair[1 - sends])
                sending.join()
                assert (end, hashlib.sha256(received).digest()) == ("eof", hashlib.sha256(data).digest())
                pair[1 - sends].shutdown(socket.SHUT_WR)
                assert pair[sends].recv(1) == b""
        assert proxy.closed() == {"finished": 2}


def is_reset(sock: socket.socket) -> bool:
    """Wait for the end, which may not be one in order."""
    return ending(sock)[0] == "reset"


@pytest.mark.parametrize("call", ["sendto", "recvfrom", "shutdown"])
def test_both_sides_know_at_once_of_a_call_that_is_refused(tmp_path: Path, call: str) -> None:
    """The sockets live on, so no peer would ever learn of it by itself."""
    with refusing(tmp_path, call, errno.EPERM) as proxy:
        for acts in (0, 1):
            with proxy.pair() as pair:
                if call == "shutdown":
                    pair[acts].shutdown(socket.SHUT_WR)
                else:
                    pair[acts].sendall(b"x")
                assert is_reset(pair[0])
                assert is_reset(pair[1])
        # The side whose socket failed is the cause: who sends for a read, the other for the rest.
        assert proxy.closed() == {"client_lost": 1, "upstream_lost": 1}


def test_both_sides_know_at_once_though_one_goes_on_sending(tmp_path: Path) -> None:
    """Who sends without end to the proxy is not read to its end first."""

    def send(sock: socket.socket, done: list[bool]) -> None:
        try:
            while True:
                sock.send(bytes(1 << 16), getattr(socket, "MSG_NOSIGNAL", 0))
        except ConnectionError:
            done.append(True)
        except OSError:
            done.append(False)

    with refusing(tmp_path, "sendto", errno.EPERM) as proxy, proxy.pair() as pair:
        done: list[bool] = []
        senders = [threading.Thread(target=send, args=(sock, done)) for sock in pair]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(5)
        assert done == [True, True]
