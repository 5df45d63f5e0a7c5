"""A terminal in which one command of a page runs: to its end, or until it listens and is to be left alone."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from .deadline import poll
from .doc_blocks import Typed, is_shown

SECONDS = 20
# Ports from here on are chosen by the system.
CHOSEN = 32768
# How long a page's text may take to be on the screen.
PATIENCE = 10.0
ROWS, COLUMNS = 40, 100


class Terminal:
    """A command that runs. Its ports are known once it listens."""

    def __init__(self, typed: Typed, argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.typed = typed
        self.ports: set[int] = set()
        self._said = bytearray()
        self._screen: str | None = None
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        with os.fdopen(theirs, "wb", buffering=0) as screen:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=screen,
                cwd=folder,
                env=dict(env),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, screen: int) -> None:
        with os.fdopen(screen, "rb", buffering=0) as source:
            while True:
                try:
                    piece = source.read(65536)
                except OSError:
                    return  # nobody has the terminal any more
                if not piece:
                    return
                self._said += piece

    @property
    def said(self) -> str:
        """What is on the screen."""
        return self._said.decode(errors="replace")

    @property
    def screen(self) -> str:
        """What it has said until Ctrl-C."""
        return self.said if self._screen is None else self._screen

    @property
    def serves(self) -> bool:
        """Whether it runs, and listens."""
        return self._process.poll() is None and bool(self.ports)

    def settle(self) -> None:
        """Wait until the command has ended, or listens."""
        poll(self._settled, SECONDS, f"it ends or listens: {self.typed.command}")

    def _settled(self) -> bool:
        if self._process.poll() is not None:
            self._reader.join(SECONDS)
            return True
        # One that listens where the system chose is a script that ends by itself, such as a test.
        self.ports = {port for port in listening(self._process.pid) if port < CHOSEN}
        return bool(self.ports)

    def wait(self) -> None:
        """Wait until the command has ended, whether it listens meanwhile or not."""
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.fault(f"it runs after {SECONDS} s")) from None
        self._reader.join(SECONDS)

    def check_ended(self) -> None:
        """Check how it has ended, and what it said."""
        code = self._process.returncode
        if self.typed.shown:
            assert is_shown(self.typed.shown, self.said, whole=True), self.fault("the page shows")
        assert code == 0 or self.typed.shown, self.fault(f"it ended with {code}")

    def close(self) -> None:
        """Look whether it says what the page shows, then press Ctrl-C."""
        shown = self.typed.shown
        if shown:
            ended = f"{self.typed.command} shows {shown}"
            try:
                poll(lambda: is_shown(shown, self.said, whole=False), PATIENCE, ended)
            except AssertionError:
                raise AssertionError(self.fault("the page shows")) from None
        self._screen = self.said
        self.interrupt()

    def interrupt(self) -> None:
        """Press Ctrl-C. A command of ours ends in order; a script may leave with words of its own."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        said = self.said
        assert "Traceback" not in said, said
        assert "Exception ignored" not in said, said
        assert "Exception in thread" not in said, said
        ours = self.typed.command.startswith(("interpose ", "python "))
        words = said.splitlines()[-1:] if code == 1 else []
        assert not ours or code == 0 or "".join(words).startswith("Ctrl-C"), self.fault(f"it ended with {code}")

    def kill(self) -> None:
        """End it and its session at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(5)

    def fault(self, what: str) -> str:
        """Return what is wrong, with both screens."""
        shown = "\n".join(self.typed.shown)
        return f"$ {self.typed.command}\n{what}:\n{shown}\n--- and there is:\n{self.said}"


def listening(session: int) -> set[int]:
    """Return the ports on which the processes of a session listen; 0 stands for a Unix socket."""
    inodes = {inode for pid in _session(session) for inode in _sockets(pid)}
    found: set[int] = set()
    try:
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{session}/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and words[9] in inodes:
                    found.add(int(words[1].rpartition(":")[2], 16))
        for line in Path(f"/proc/{session}/net/unix").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "00010000" and words[6] in inodes:
                found.add(0)
    except OSError:
        pass  # it has just ended
    return found


def _session(session: int) -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                # To read each stat would take more time than most commands of the pages do.
                if os.getsid(int(name)) == session:
                    found.append(int(name))
            except OSError:
                continue
    return found


def _sockets(pid: int) -> list[str]:
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []
    return [link[8:-1] for link in links if link.startswith("socket:[")]
