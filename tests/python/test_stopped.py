"""A proxy that is stopped for longer than its limits (SIGSTOP, a debugger, a frozen container) ends nothing for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.peers import Address, bound_address, connect, listener, read_exactly
from support.processes import Child
from support.scripts import python_argv

SERVERS = """
import sys, threading
from interpose import Forward, TheServer, Timeouts

forward = Forward("127.0.0.1", int(sys.argv[1]), connect_timeout=1)
timeouts = Timeouts(idle=0.8, half_close=0.8, unacknowledged=1)
hooks = {"native": {}, "hooked": {"on_recv": lambda side, data: None}}[sys.argv[2]]
server = TheServer("", 0, forward, timeouts=timeouts, **hooks).start()
stopping = TheServer("", 0, forward, **hooks).start()
print(server.address[1], stopping.address[1], flush=True)
sys.stdin.readline()
thread = threading.Thread(target=stopping.stop, args=[0.8])
thread.start()
print(flush=True)
thread.join()
print({str(reason) for reason, count in stopping.stats.closed.items() if count}, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there is no SIGSTOP here")
@pytest.mark.parametrize("kind", ["native", "hooked"])
def test_what_lives_goes_on_after_the_process_was_stopped(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(listener())

        def pair(address: Address) -> tuple[socket.socket, socket.socket]:
            client = stack.enter_context(connect(address))
            client.sendall(b"?")
            upstream = stack.enter_context(listening.accept()[0])
            upstream.settimeout(10)
            assert upstream.recv(1) == b"?"
            return client, upstream

        argv = python_argv(SERVERS, str(bound_address(listening)[1]), kind)
        child = stack.enter_context(Child(argv, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert child.popen.stdin is not None
        assert child.popen.stdout is not None
        served, stopping = (("127.0.0.1", int(port)) for port in child.popen.stdout.readline().split())
        draining = pair(stopping)
        quiet, lively, halved = pair(served), pair(served), pair(served)
        halved[0].shutdown(socket.SHUT_WR)
        assert halved[1].recv(1) == b""
        child.popen.stdin.write(b"\n")
        child.popen.stdin.flush()
        child.popen.stdout.readline()
        os.kill(child.pid, signal.SIGSTOP)
        lively[0].sendall(b"meanwhile")
        halved[1].sendall(b"answer")
        late = stack.enter_context(connect(served))
        late.sendall(b"late")
        time.sleep(1.6)
        os.kill(child.pid, signal.SIGCONT)
        quiet[0].sendall(b"after")
        draining[0].sendall(b"after")
        assert read_exactly(lively[1], 9) == b"meanwhile"
        assert read_exactly(halved[0], 6) == b"answer"
        assert read_exactly(quiet[1], 5) == b"after"
        assert read_exactly(draining[1], 5) == b"after"
        accepted = stack.enter_context(listening.accept()[0])
        assert read_exactly(accepted, 4) == b"late"
        for sock in draining:
            sock.shutdown(socket.SHUT_WR)
        assert child.popen.stdout.readline() == b"{'finished'}\n"
        # The limits are in force again.
        for sock in (*quiet, *lively, halved[0]):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
