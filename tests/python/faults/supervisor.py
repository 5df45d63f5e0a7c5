"""Answers the calls of a filtered process: lets them pass, or fails those that an Injection is about."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.deadline import poll

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438


@dataclass(frozen=True)
class Call:
    """One call of the process, before the kernel has it."""

    thread: int
    number: int
    arguments: tuple[int, ...]

    def descriptor(self, argument: int = 0) -> str:
        """Return what an argument is open for, such as `socket:[17]`."""
        try:
            return str(Path(f"/proc/{self.thread}/fd/{self.arguments[argument]}").readlink())
        except OSError:
            return ""

    def family(self) -> int:
        """Return the family of the address that is the second argument."""
        return int(struct.unpack("H", self.memory(1, 2))[0])

    def memory(self, argument: int, size: int) -> bytes:
        """Return what an argument points to."""
        with Path(f"/proc/{self.thread}/mem").open("rb", buffering=0) as memory:
            memory.seek(self.arguments[argument])
            return memory.read(size)


@dataclass
class Injection:
    """Fails every call that matches, until it is over, or has failed `most` of them."""

    number: int
    error: int
    matches: Callable[[Call], bool]
    most: int
    count: int = field(default=0)


class Supervisor:
    """A thread that answers for one process."""

    def __init__(self, folder: Path) -> None:
        self._note = folder / "filter"
        self._injection: Injection | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self, injection: Injection) -> None:
        """Fail calls from now on."""
        self._injection = injection

    def end(self) -> None:
        """Let all calls pass again."""
        self._injection = None

    def close(self) -> None:
        """End the thread. The process has ended by then, or ends with what is not answered any more."""
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        poll(lambda: self._note.exists() or self._over.is_set(), 20, "the filter is there")
        if self._over.is_set():
            return
        pid, number = map(int, self._note.read_text().split())
        stat = Path(f"/proc/{pid}/stat")
        poll(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", 20, "the process has stopped")
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = libc.syscall(_PIDFD_OPEN, pid, 0)
        fd = libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
        assert min(pidfd, fd) >= 0, f"the filter cannot be had: {os.strerror(ctypes.get_errno())}"
        os.close(pidfd)
        os.kill(pid, signal.SIGCONT)
        try:
            self._answer(fd)
        finally:
            os.close(fd)

    def _answer(self, fd: int) -> None:
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        while not self._over.is_set():
            events = waiting.poll(50)
            if any(event & select.POLLHUP for _, event in events):
                return
            if not events:
                continue
            notice = bytearray(80)
            try:
                fcntl.ioctl(fd, _RECEIVE, notice, True)
                ident, thread, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", notice)
                error = self._verdict(Call(thread, number, tuple(arguments)))
                reply = struct.pack("QqiI", ident, 0, -error, 0 if error else _CONTINUE)
                fcntl.ioctl(fd, _SEND, bytearray(reply), True)
            except OSError:
                pass  # the caller has been interrupted, or is gone

    def _verdict(self, call: Call) -> int:
        injection = self._injection
        if injection is None or injection.count >= injection.most or call.number != injection.number:
            return 0
        if not injection.matches(call):
            return 0
        injection.count += 1
        return injection.error


def is_allowed(folder: Path) -> bool:
    """Tell whether a process here may have a filter that notifies."""
    argv = [sys.executable, "-m", "faults.filtered", str(folder), "0", "/bin/true"]
    path = str(Path(__file__).parents[1])
    with subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL) as tried:
        # It has stopped with a filter, or has ended for want of one.
        _, status = os.waitpid(tried.pid, os.WUNTRACED)
        tried.kill()
    return os.WIFSTOPPED(status)
