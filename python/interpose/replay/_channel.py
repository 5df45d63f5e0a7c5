"""One socket of a replay: a player's bytes and ends, sent and received without blocking."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._script import Act, Step

if TYPE_CHECKING:
    from ._casting import Part

_AT_ONCE = 256 * 1024
# How long until it is looked again whether a peer has got what goes before a reset.
_STEP_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast it goes: a wait for the peer lasts `timeout` seconds; `by_time` keeps the pauses of the record."""

    timeout: float
    by_time: bool = False


def _always() -> bool:
    return True


class Channel:
    """A connection that is played. `wake_at` is when it is to go on though nothing has come."""

    def __init__(
        self, sock: socket.socket, part: Part, pace: Pace, now: float, may_say: Callable[[], bool] = _always
    ) -> None:
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.part = sock, part
        self._pace, self._may_say = pace, may_say
        self._moved_at = now
        self.wake_at: float | None = None
        self.wants_write = False
        self.is_over = False
        self.fault: str | None = None
        self._resets = False

    @property
    def reads(self) -> bool:
        """True while more may come."""
        return self.part.player.has_ended is None

    def read(self, now: float) -> None:
        """Take what has come."""
        if not self.reads:
            return
        try:
            data = self.sock.recv(_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._ended("reset")
            return
        self._moved_at = now
        if data:
            self.part.hear(data)
        else:
            self._ended("end")

    def go_on(self, now: float) -> None:
        """Send what is due, and end what is over."""
        self.wake_at, self.wants_write = None, False
        while not self.is_over:
            if self.part.fault is not None:
                self._fail(self.part.fault)
                return
            step = self.part.due()
            if step is None:
                self._wait(now)
                return
            if not self._may_say():
                return
            ready = self._moved_at + step.gap
            if self._pace.by_time and not self.part.player.offset and ready > now:
                self.wake_at = ready
                return
            if not self._say(step, now):
                return

    def release(self) -> None:
        """Close the socket: by a reset, or in order as far as that is still to be done."""
        if self._resets:
            reset(self.sock)
        else:
            self.sock.close()

    @property
    def is_played(self) -> bool:
        """True once everything was said and heard."""
        return self.part.player.is_played

    def _say(self, step: Step, now: float) -> bool:
        """Say a step, or part of it. Return False where it has to wait, or is over."""
        if step.act is Act.RESET:
            if _unacknowledged(self.sock) and now < self._moved_at + self._pace.timeout:
                self.wake_at = now + _STEP_SECONDS
                return False
            self.part.take(Act.RESET)
            self.is_over = self._resets = True
            return False
        try:
            if step.act is Act.END:
                self.sock.shutdown(socket.SHUT_WR)
                self.part.take(Act.END)
            else:
                begin = self.part.player.offset
                data = step.data[begin : begin + _AT_ONCE]
                self.part.take(Act.SAY, data[: self.sock.send(data)])
        except (BlockingIOError, InterruptedError):
            self.wants_write = True
            self._wait(now, "the peer has read nothing for")
            return False
        except OSError:
            self._ended("reset")
            return True
        self._moved_at = now
        return True

    def _wait(self, now: float, why: str = "nothing came within") -> None:
        """Wait for the peer, or end what is over."""
        player = self.part.player
        if player.is_played:
            self.is_over = player.has_ended is not None
            return
        self.wake_at = self._moved_at + self._pace.timeout
        if now >= self.wake_at:
            self._fail(player.missing(f"{why} {self._pace.timeout:g} s"))

    def _ended(self, how: str) -> None:
        self.part.hear_end(how)
        self.is_over = how == "reset" and self.part.fault is None

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self.is_over = self._resets = True


def reset(sock: socket.socket) -> None:
    """Reset a connection."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _unacknowledged(sock: socket.socket) -> bool:
    """Return whether the peer's system has not acknowledged all that was sent; False where that is not known."""
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (ImportError, AttributeError, OSError):
        return False
    return answer != b"\0\0\0\0"
