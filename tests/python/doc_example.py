"""Runs one Python example of the documentation, on this machine only.

    python doc_example.py FILE LINE

The example is the fenced block that begins at that line. It runs as it stands, except that fixed ports become free
ones, hosts of example.com become an echo server, and a server that would serve for ever is visited, then gets Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import interpose
from interpose import Forward, TheServer, _hooks
from interpose._forward import native_forward

SECONDS = 10


def main(path: str, line: str) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as upstream:
        upstream.daemon_threads = True
        threading.Thread(target=upstream.serve_forever, args=(0.02,), daemon=True).start()
        OnThisMachine.upstream = upstream.server_address[1]
        interpose.TheServer = OnThisMachine  # type: ignore[misc]
        setattr(_hooks, "native_forward", on_this_machine)  # noqa: B010
        source = "\n" * int(line) + block(Path(path), int(line))
        try:
            exec(compile(source, path, "exec"), {"__name__": "__main__"})
        finally:
            upstream.shutdown()


def block(path: Path, line: int) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()[line:]
    return "\n".join(lines[: lines.index("```")])


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except ConnectionResetError:
            return


def forward_of(wanted: Any) -> Forward:
    if isinstance(wanted, Forward):
        return wanted
    return Forward(wanted) if isinstance(wanted, str) else Forward(*wanted)


def here(wanted: Forward) -> Forward:
    """The echo server in the place of a host of example.com."""
    if not str(wanted.address[0]).endswith(".example.com"):
        raise AssertionError(f"an example forwards to {wanted.address}: give it a host of example.com")
    return Forward("127.0.0.1", OnThisMachine.upstream, connect_timeout=wanted.connect_timeout)


def on_this_machine(forward: Forward) -> object:
    """What on_accept names, for the native side."""
    return native_forward(here(forward))


class OnThisMachine(TheServer):
    upstream = 0
    taken: ClassVar[set[int]] = set()

    def __init__(self, host: str = "", port: int | None = None, forward_to: Any = None, **settings: Any) -> None:
        if host.startswith("unix:"):
            host = f"unix:{Path(host).name}"
        # A port that an earlier server of the example was given is meant: it shows what then happens.
        elif port not in self.taken:
            port = 0
        wanted = type(self).forward_to if forward_to is None else forward_to
        target = None if wanted is None else here(forward_of(wanted))
        super().__init__(host, port, target, **settings)
        if not host.startswith("unix:"):
            self.taken.add(int(self.address[1]))

    def main_loop(self, *, handle_signals: bool = False) -> None:
        visitor = threading.Thread(target=self.visit)
        visitor.start()
        try:
            super().main_loop(handle_signals=handle_signals)
        finally:
            visitor.join(SECONDS)

    def visit(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", int(self.address[1])), timeout=SECONDS) as client:
                client.sendall(b"hello")
                if client.recv(5) == b"hello":
                    print("visited", flush=True)
        finally:
            os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(*sys.argv[1:])
