"""Runs the examples of a page exactly as they are printed, beside the servers that the page names, and visits them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .deadline import poll
from .namespaces import Namespace
from .peers import connect, echo
from .processes import Child, find_program
from .proxies import command

SECONDS = 10
PORT = 9090  # of every script that serves for ever


def block(page: Path, line: int) -> str:
    """The fenced block that begins at that line."""
    lines = page.read_text(encoding="utf-8").splitlines()[line:]
    return "\n".join(lines[: lines.index("```")]) + "\n"


def commands_of(page: Path) -> list[str]:
    """The lines of the page's blocks that are commands to type."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for found in blocks for line in found.splitlines()]


class World:
    """Where a page's examples run: a network that nobody else is in, if root can make one, else this machine's."""

    def __init__(self, page: Path, folder: Path) -> None:
        self._folder = folder
        self._network: Namespace | None = None
        with ExitStack() as stack:
            if hasattr(os, "geteuid") and os.geteuid() == 0 and find_program("ip"):
                self._network = Namespace()
                stack.callback(self._network.delete)
            else:
                stack.enter_context(one_at_a_time())
            for line in commands_of(page):
                words = shlex.split(line, comments=True)
                if words[:2] == ["interpose", "echo"]:
                    stack.enter_context(self._child(folder, *command(), *words[1:])).wait_for("listening on")
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End the page's servers, and its network."""
        self._stack.close()

    def run_script(self, source: str) -> None:
        """Run a script to its end. One that serves for ever is visited, then gets Ctrl-C."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            Path(name, "example.py").write_text(source, encoding="utf-8")
            argv = [sys.executable, "-X", "dev", "-W", "error", "example.py"]
            with self._child(Path(name), *argv) as child:
                if "main_loop(" in source:
                    visit(poll(lambda: self._client_of(child), SECONDS, f"it listens on port {PORT}"))
                    child.popen.send_signal(signal.SIGINT)
                child.popen.communicate(timeout=SECONDS)
                said = child.output()
                assert not re.search("^Exception (ignored|in thread)", said, re.MULTILINE), said
                # A script may leave with its own words: sys.exit("...") is code 1 and the words on stderr.
                words = said.splitlines()[-1:] if child.popen.returncode == 1 else []
                assert child.popen.returncode == 0 or "".join(words).startswith("Ctrl-C"), said

    def run_command(self, *words: str) -> None:
        """Run a command that listens, visit it where its first line says, and end it."""
        with self._child(self._folder, *command(), *words) as child:
            found = child.wait_for(r"listening on (?:unix:(\S+)|\[?([0-9.:]+?)\]?:(\d+)), ")
            visit(unix(self._folder / found[1]) if found[1] else self._connect(found[2], int(found[3])))
            assert child.stop() == 0
            assert "Traceback" not in child.output()

    def _child(self, folder: Path, *argv: str) -> Child:
        prefix = self._network.prefix if self._network else []
        return Child([*prefix, *argv], folder)

    def _client_of(self, child: Child) -> socket.socket | None:
        assert child.popen.poll() is None, child.output()
        try:
            return self._connect("127.0.0.1", PORT)
        except ConnectionRefusedError:
            return None

    def _connect(self, host: str, port: int) -> socket.socket:
        address = "127.0.0.1" if host == "0.0.0.0" else host, port
        return self._network.connect(address) if self._network else connect(address)


def unix(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(SECONDS)
    client.connect(str(path))
    return client


def visit(client: socket.socket) -> None:
    """Check that the bytes of a visitor come back, from a server that the page names."""
    with client:
        assert echo(client, b"hello") == b"hello"


@contextmanager
def one_at_a_time() -> Generator[None]:
    """The ports of the pages are fixed, so no other process of the tests may use them meanwhile."""
    import fcntl  # not on every system, and not needed where a page has a network of its own

    with Path(tempfile.gettempdir(), f"interpose-docs-{os.getuid()}.lock").open("w") as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        poll(taken, 100.0, "the ports of the pages are free")
        yield
