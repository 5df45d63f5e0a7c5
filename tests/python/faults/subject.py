"""A process under faults, the peers of its connections, and what they have seen."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.peers import bound_address, listener, read_exactly
from support.processes import Child

from .supervisor import Supervisor

HERE = Path(__file__).parent


@dataclass
class Seen:
    """The bytes and the end that an upstream has seen of one connection."""

    got: int = 0
    end: str = ""


class Upstream:
    """Echoes, or takes all before it answers with one byte, and remembers each connection."""

    def __init__(self, echoes: bool = True) -> None:
        self._listener = listener()
        self._echoes = echoes
        self.address = bound_address(self._listener)
        self.seen: list[Seen] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        self._listener.settimeout(None)
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.seen.append(Seen())
                threading.Thread(target=self._serve, args=(sock, self.seen[-1]), daemon=True).start()

    def _serve(self, sock: socket.socket, seen: Seen) -> None:
        with sock:
            try:
                while data := sock.recv(1 << 18):
                    seen.got += len(data)
                    if self._echoes:
                        sock.sendall(data)
                if not self._echoes:
                    sock.sendall(b"!")
                seen.end = "eof"
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                seen.end = seen.end or "reset"

    def close(self) -> None:
        """Take no more."""
        self._listener.close()


class Attempt:
    """A client that sends `size` bytes and its end, and reads what is due until the end comes."""

    def __init__(self, address: tuple[str, int], size: int, due: int) -> None:
        self.size, self.due, self.got, self.end = size, due, 0, ""
        self._reset = False
        self._sock = socket.socket()
        self._sock.settimeout(5)
        try:
            self._sock.connect(address)
        except ConnectionResetError:
            # The reset of an accepted client may come before its connect has returned.
            self.end = "reset"
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            self._sock.sendall(b"x" * self.size)
            self._sock.shutdown(socket.SHUT_WR)
        except ConnectionResetError:
            # The kernel tells it once.
            self._reset = True
        except OSError:
            pass

    def wait(self, seconds: float) -> str:
        """Read for as long as that: `whole`, `short`, `reset`, or `waits`."""
        deadline = time.monotonic() + seconds
        while not self.end:
            left = deadline - time.monotonic()
            if left <= 0:
                return "waits"
            self._sock.settimeout(left)
            try:
                data = self._sock.recv(1 << 18)
            except TimeoutError:
                return "waits"
            except OSError:
                self.end = "reset"
            else:
                self.got += len(data)
                if not data and self.got < self.due:
                    self._thread.join(5)
                    self.end = "reset" if self._reset else "short"
                elif not data:
                    self.end = "whole"
        return self.end

    def close(self) -> None:
        """Leave."""
        self._sock.close()


@dataclass
class Subject:
    """The process, behind its filter, with a server and a connection that was there before."""

    folder: Path
    numbers: tuple[int, ...]
    upstream: Upstream = field(default_factory=Upstream)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.supervisor = Supervisor(self.folder)
        argv = [sys.executable, "-m", "faults.filtered", str(self.folder), ",".join(map(str, self.numbers))]
        path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        self.child = Child(
            [*argv, sys.executable, "-m", "faults.victim"],
            self.folder,
            name="victim",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": path},
        )

    def ask(self, word: str, argument: object = None, seconds: float = 15.0) -> Any:
        """Ask the process; raise AssertionError when it does not answer."""
        stdin, stdout = self.child.popen.stdin, self.child.popen.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([word, argument]).encode() + b"\n")
        stdin.flush()
        ready, _, _ = select.select([stdout], [], [], seconds)
        line = stdout.readline() if ready else b""
        assert line, f"no answer to {word}:\n{self.child.output()}"
        return json.loads(line)

    def start(self, **spec: object) -> tuple[str, int] | str:
        """Start a server in the process: its address, or the name of the error."""
        answer = self.ask("start", {"forward": self.upstream.address, **spec})
        return answer if isinstance(answer, str) else (answer[0], answer[1])

    def lines(self) -> int:
        """Count the lines of its log."""
        return self.child.output().count("\n")

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used."""
        total = 0
        for task in Path(f"/proc/{self.child.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self.child.popen.poll() is None

    def close(self) -> None:
        """End it."""
        self.supervisor.end()
        with contextlib.suppress(OSError):
            self.child.kill()
        self.supervisor.close()
        self.upstream.close()


def echoes(sock: socket.socket) -> bool:
    """Tell whether what is sent comes back."""
    try:
        sock.settimeout(5)
        sock.sendall(b"alive")
        return read_exactly(sock, 5) == b"alive"
    except OSError:
        return False
