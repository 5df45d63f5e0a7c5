"""Bytes that stream are spliced, as far as the system lets whoever runs the proxy; where it does not, none is lost."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.deadline import poll
from support.namespaces import require_root
from support.peers import Served, connect
from support.proxies import ProxyProcess

NOBODY = 65534
SIZE = 32 << 20
DATA = bytes(range(256)) * (SIZE // 256)

HOG = """
import fcntl, os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
held = []
while len(held) < 2000:
    pipe = os.pipe()
    held.append(pipe)
    try:
        fcntl.fcntl(pipe[0], 1031, 262144)
    except OSError:
        break
print(len(held), flush=True)
sys.stdin.read()
"""


@contextmanager
def pipes_used_up() -> Generator[int]:
    """Have an ordinary user own as many pages of pipes as the kernel grants one; give how many pipes that took."""
    command = [sys.executable, "-c", HOG, str(NOBODY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(10) == 0


def stream(proxy: ProxyProcess, served: Served, received: list[str]) -> None:
    """Send everything through, and compare."""
    with connect(proxy.address, 30.0) as client:
        sender = threading.Thread(target=client.sendall, args=(DATA,))
        sender.start()
        sender.join(30)
        client.shutdown(1)
        assert client.recv(1) == b""
    poll(lambda: received, 10, "the upstream has all")
    assert received == [hashlib.sha256(DATA).hexdigest()]


def drain(received: list[str]) -> Served:
    """Serve one that reads to the end."""

    def serve(sock: socket.socket) -> None:
        digest = hashlib.sha256()
        while data := sock.recv(1 << 20):
            digest.update(data)
        received.append(digest.hexdigest())

    return Served(serve)


def spliced_bytes(tmp_path: Path, settings: dict[str, object]) -> int:
    """Stream through a proxy with these settings. Return how many bytes went into pipes and out of them."""
    received: list[str] = []
    log = tmp_path / "calls"
    prefix = ("strace", "-f", "-qq", "-e", "trace=splice", "-o", str(log))
    with (
        drain(received) as served,
        ProxyProcess(tmp_path, [{"forward": served.address, **settings}], prefix=prefix) as proxy,
    ):
        stream(proxy, served, received)
    return sum(int(match[1]) for match in re.finditer(r"splice\(.* = (\d+)$", log.read_text(), re.MULTILINE))


@pytest.mark.parametrize("splice", [True, False], ids=["on", "off"])
def test_what_streams_is_spliced_unless_that_is_off(splice: bool, tmp_path: Path) -> None:
    require_root("strace")
    spliced = spliced_bytes(tmp_path, {"splice": splice})
    # Each byte goes in and out; what came before the direction counted as one that streams was copied.
    assert spliced > SIZE if splice else spliced == 0


@pytest.mark.parametrize("more", [{}, {"lines": True}, {"preread": True}], ids=["chunks", "lines", "preread"])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_is_behind_the_bytes_that_callbacks_are_shown_is_spliced(
    kind: str, more: dict[str, object], tmp_path: Path
) -> None:
    require_root("strace")
    looking = {"on_client_recv": kind, **more}
    assert more or spliced_bytes(tmp_path, looking) == 0
    assert spliced_bytes(tmp_path, {**looking, "inspect_limit": 1000}) > SIZE


@pytest.mark.parametrize("hog", [False, True], ids=["pipes to be had", "pipes used up"])
def test_an_ordinary_user_loses_nothing(hog: bool, tmp_path: Path) -> None:
    require_root()
    received: list[str] = []
    plan = {"uid": NOBODY}
    with drain(received) as served, ProxyProcess(tmp_path, [{"forward": served.address}], plan=plan) as proxy:
        if not hog:
            stream(proxy, served, received)
            return
        with pipes_used_up() as count:
            assert count < 2000
            stream(proxy, served, received)
