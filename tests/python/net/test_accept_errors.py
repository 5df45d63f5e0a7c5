"""accept() that fails for reasons no test can make for real: strace puts the errors in, the binary is the real one."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.deadline import poll
from support.peers import Echo, connect, echo
from support.processes import program, run
from support.proxies import ProxyProcess

from .conftest import Start

Traced = Callable[[str, str], ProxyProcess]


@pytest.fixture
def traced(tmp_path: Path, echo_upstream: Echo, start: Start) -> Traced:
    """Starts a proxy whose accept() calls fail with an error at given turns."""
    strace = program("strace", "strace")
    # -D leaves the proxy our own child, and -I1 lets strace itself be ended while the proxy runs on. That is also why
    # there is no --seccomp-bpf: its filter would stay behind, and make every accept() fail that nobody traces.
    options = ["-D", "-I1", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept,accept4"]
    try:
        run([strace, *options, "true"], tmp_path, seconds=10)
    except AssertionError as error:
        pytest.skip(f"ptrace is not allowed here: {error}")

    def begin(error: str, when: str) -> ProxyProcess:
        inject = f"inject=accept,accept4:error={error}:when={when}"
        return start({"forward": echo_upstream.address}, prefix=[strace, *options, "-e", inject])

    return begin


def tracer(pid: int) -> int:
    """Who traces a process; 0 is nobody."""
    match = re.search(r"TracerPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize(
    "error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "ENOSYS", "EINVAL", "EBADF", "EPROTO"]
)
def test_what_fails_for_long_pauses_and_ends(traced: Traced, error: str) -> None:
    """AC-02: Accepting outlasts a machine out of descriptors, and then serves the clients that have waited.
    AC-03: Accepting outlasts a lack of memory for sockets in the same way.

    Every accept fails until strace is gone; then the waiting clients are served.
    """
    proxy = traced(error, "1+1")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy.address)) for _ in range(20)]
        for sock in clients:
            sock.sendall(b"waiting")
        poll(lambda: proxy.stats()["accept_paused"], 5, "the listener pauses")
        lines, errors, begin = len(proxy.log().splitlines()), proxy.stats()["accept_errors"], time.monotonic()
        assert proxy.cpu_share(1.0) < 0.05
        seconds = time.monotonic() - begin
        assert len(proxy.log().splitlines()) - lines <= 1 + seconds, proxy.log()
        assert proxy.stats()["accept_errors"] - errors <= 10 + 20 * seconds
        # Told to end, strace detaches and the proxy runs on by itself.
        os.kill(tracer(proxy.pid), signal.SIGTERM)
        poll(lambda: tracer(proxy.pid) == 0, 5, "strace is gone")
        for sock in clients:
            assert sock.recv(16) == b"waiting"
        assert not proxy.stats()["accept_paused"]


@pytest.mark.parametrize(
    "error", ["ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EINTR", "EPROTO", "ENETDOWN", "EPERM"]
)
def test_passing_errors_lose_no_client(traced: Traced, error: str) -> None:
    """Some accepts fail, at the third call and at every seventh after it: each client is served all the same."""
    proxy = traced(error, "3+7")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy.address)) for _ in range(40)]
        for number, sock in enumerate(clients):
            assert echo(sock, b"client %d" % number) == b"client %d" % number
        stats = proxy.stats()
        assert (stats["accepted"], stats["active"], stats["closed"]) == (40, 40, {})
        assert len(proxy.log().splitlines()) <= 20, proxy.log()
