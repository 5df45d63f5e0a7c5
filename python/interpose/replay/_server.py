"""A server that plays the server's side of a record."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self, TypeAlias

from .._addresses import Address, address_text, listen_address
from .._checks import choice, flag, seconds
from .._exceptions import BindError, ReplayError, printable
from .._names import names_checked, table
from .._threads import start_thread
from .._waiting import wait_for
from ._casting import Cast
from ._channel import Channel, Pace, reset
from ._channels import Channels
from ._masks import Expression, Mask, masks_of
from ._recording import Recording, playable
from ._script import script_of

Match: TypeAlias = Literal["order", "bytes"]
"""How a conversation is found for a connection."""
Timing: TypeAlias = Literal["lockstep", "recorded"]
"""When answers are sent."""

SECONDS = 10.0
_BACKLOG = 1024
# What clients have sent before the end is still looked at: as long at most.
_LAST_SECONDS = 0.015
# How long no client is taken while the process has no descriptor left.
_PAUSE_SECONDS = 0.05
_SETTLE_SECONDS = 1.0
_MOST_SAID = 20
ARGUMENTS = table(
    {
        "recording": "path file filename name record session",
        "match": "matching by find",
        "timing": "pace speed time times",
        "mask": "masks ignore ignored regex",
        "timeout": "deadline seconds within limit",
        "expect_all": "all complete strict",
        "host": "listen bind interface",
    }
)


class Replay:
    """Plays the server's side of a record. Made by serve(), and listens from then on; `with` or stop() ends it.

    >>> import socket, tempfile
    >>> from interpose import replay
    >>> from interpose.testing import Proxy
    >>> def ask(address):
    ...     with socket.create_connection(address) as client:
    ...         client.sendall(b"hello")
    ...         return client.recv(5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Proxy("127.0.0.1:7070") as proxy, proxy.record(f"{folder}/session.jsonl"):
    ...         answer = ask(proxy.address)
    ...     with replay.serve(f"{folder}/session.jsonl") as server:  # and nothing else listens
    ...         ask(server.address), server.mismatches
    (b'hello', [])
    """

    def __init__(
        self, recording: Recording, listener: socket.socket, cast: Cast, pace: Pace, *, expect_all: bool
    ) -> None:
        self.recording: Recording = recording
        """The record that is played."""
        self.mismatches: list[str] = []
        """One line for each connection that went on otherwise than in the record."""
        self._listener, self._cast, self._pace = listener, cast, pace
        self._expects_all = expect_all
        self._address = Address(*listener.getsockname()[:2])
        self._numbers: dict[Channel, int] = {}
        self._count = 0
        self._played: set[int] = set()
        self._left: list[str] = []
        self._is_stopping, self._is_stopped = False, False
        self._is_accounted, self._is_settled = threading.Event(), threading.Event()
        self._is_asked = False
        self._waker, self._wakes = socket.socketpair()
        self._channels = Channels(self._over)
        self._moved_at: float | None = None
        # A child has a copy of the sockets, and no thread.
        self._process = os.getpid()
        for sock in (self._waker, self._wakes, listener):
            sock.setblocking(False)
        self._channels.watch(listener, self._accept)
        self._channels.watch(self._wakes, self._woken)
        self._thread = start_thread("interpose-replay", self._run)

    @property
    def address(self) -> Address:
        """Where it listens: the tuple that sockets take; its text is `host:port`."""
        return self._address

    @property
    def host(self) -> str:
        """The host that it listens on."""
        return self._address.host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._address.port

    def expect_all(self, expected: bool = True) -> None:
        """Say whether check() is to complain of conversations that were not played, or not to their end."""
        self._expects_all = flag("expected", expected)

    def wait(self, timeout: float = SECONDS) -> bool:
        """Wait until each conversation was played or went wrong; return False if that takes longer."""
        limit = seconds("timeout", timeout, zero=True)
        return wait_for(self._is_accounted.wait, limit)

    def check(self) -> None:
        """Raise ReplayError for what went on otherwise than in the record.

        What was not played counts once it is stopped.
        """
        # Behind a mismatch, the rest most likely was not played because of that.
        lines = self.mismatches or (self._left if self._expects_all else [])
        if lines:
            more = [f"and {len(lines) - _MOST_SAID} more"] if len(lines) > _MOST_SAID else []
            raise ReplayError("\n".join([*lines[:_MOST_SAID], *more]))

    def stop(self) -> None:
        """End all connections, and close the port. It may be called more than once."""
        if self._is_stopped or self._process != os.getpid():
            return
        self._is_stopping = True
        self._wake()
        self._thread.join()
        self._is_stopped = True
        for sock in (self._waker, self._wakes):
            sock.close()

    def __enter__(self) -> Self:
        """Return it; it listens already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; raise what check() raises, or add it to the exception that is under way as a note."""
        __tracebackhide__ = True
        self.stop()
        if error is None:
            self.check()
        for line in self.mismatches[:_MOST_SAID] if error is not None else ():
            error.add_note(line)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]

    def __str__(self) -> str:
        return str(self._address)

    def __repr__(self) -> str:
        return f"<Replay {self._address} of {repr(self.recording)[14:]}"

    def settle(self) -> bool:
        """Wait until all that has come by now is seen; return whether no connection is under way then."""
        if not self._is_stopped:
            self._is_settled.clear()
            self._is_asked = True
            self._wake()
            wait_for(self._is_settled.wait, _SETTLE_SECONDS)
        return not self.is_under_way

    @property
    def is_under_way(self) -> bool:
        """True while a connection lives on which more is to be said or heard."""
        return any(not channel.is_played for channel in self._channels.live)

    @property
    def idle_seconds(self) -> float:
        """The seconds since a connection has begun or ended; 0 before the first, and while one is being played."""
        return 0.0 if self._moved_at is None or self.is_under_way else time.monotonic() - self._moved_at

    @property
    def live_connections(self) -> int:
        """The connections that have not ended."""
        return len(self._channels)

    @property
    def played(self) -> int:
        """The conversations that were played to their end."""
        return len(self._played)

    def _run(self) -> None:
        while not self._is_stopping:
            has_come = self._channels.turn(0.0 if self._is_asked else None)
            self._account()
            if self._is_asked and not has_come:
                self._is_asked = False
                self._is_settled.set()
        end = time.monotonic() + _LAST_SECONDS
        self._channels.forget(self._wakes)
        while self._channels.turn(0.0) and time.monotonic() < end:
            pass
        self._account()
        for channel in self._channels.live:
            if not channel.is_played:
                self._left.append(self._line(channel, channel.part.player.missing("the replay was left")))
            self._cast.leave(channel.part)
        names = [str(self.recording.conversations[index].number) for index in self._cast.unplayed()]
        self._left += [self._text(f"no client came for the recorded connection {name}") for name in names]
        self._channels.forget(self._listener)
        self._listener.close()
        self._channels.close()

    def _woken(self) -> None:
        with suppress(OSError):
            self._wakes.recv(1024)

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b".")

    def _account(self) -> None:
        """Note what was played, and whether that is all."""
        for channel in self._channels.live:
            if channel.is_played:
                self._played.add(channel.part.player.index)
        if len(self._played) + len(self.mismatches) >= len(self.recording):
            self._is_accounted.set()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptor is left; what is open goes on meanwhile.
            time.sleep(_PAUSE_SECONDS)
            return
        self._count += 1
        self._moved_at = time.monotonic()
        part = self._cast.enter()
        if part is None:
            count = len(self.recording)
            has = "1 connection" if count == 1 else f"{count} connections"
            self.mismatches.append(self._text(f"connection {self._count}: it was never recorded: the record has {has}"))
            reset(sock)
            return
        channel = Channel(sock, part, self._pace, self._moved_at)
        self._numbers[channel] = self._count
        self._channels.add(channel)

    def _over(self, channel: Channel) -> None:
        self._moved_at = time.monotonic()
        self._cast.leave(channel.part)
        if channel.fault is not None:
            self._played.discard(channel.part.player.index)
            self.mismatches.append(self._line(channel, channel.fault))
        else:
            self._played.add(channel.part.player.index)
        self._numbers.pop(channel, None)

    def _line(self, channel: Channel, clause: str) -> str:
        recorded, number = channel.part.player.script.conversation.number, self._numbers.get(channel, 0)
        of = "" if recorded == number else f" (recorded as {recorded})"
        return self._text(f"connection {number}{of}, {clause}")

    def _text(self, line: str) -> str:
        return printable(f"replay {self.recording.name}: {line}" if self.recording.name else f"replay: {line}")


@names_checked(ARGUMENTS, first=1)
def serve(
    recording: Recording | str | os.PathLike[str],
    *,
    host: str = "",
    port: int = 0,
    match: Match = "order",
    timing: Timing = "lockstep",
    mask: Mask | Iterable[Mask] = (),
    timeout: float = SECONDS,
    expect_all: bool = True,
) -> Replay:
    r"""Play the server's side of a record on a port of its own, so that a client runs without its server.

    * `recording`: a path, or a Recording. `host`, `port`: where to listen; 0 is any free port.
    * `match`: `"order"` plays the n-th conversation to the n-th connection; `"bytes"` one that fits what the client
      sends, the earliest of several.
    * `timing`: with `"lockstep"` an answer is sent as soon as the client has sent what came before it in the record;
      with `"recorded"` it also waits as long as it took then.
    * `mask`: regular expressions of bytes, such as `rb"id=\d+"`: what they match in the record may be anything else
      that they match, of another length too. They are in the dialect of filters, so their time is bounded.
    * `timeout`: how many seconds a wait for the client may last.
    * `expect_all`: whether a conversation that was not played is an error at the end.

    A client that sends something else is reset, and `with` raises ReplayError at its end: with the connection, the
    place, what was expected and what came. Raises RecordError for a record that is broken or empty, ConfigError and
    BindError.

    >>> from interpose import RecordError, replay
    >>> try:
    ...     replay.serve(replay.Recording(()))
    ... except RecordError as error:
    ...     print(error)
    record: it has no connection, so there is nothing to replay; record again while a client connects
    """
    by_bytes = choice("match", match, ("order", "bytes")) == "bytes"
    by_time = choice("timing", timing, ("lockstep", "recorded")) == "recorded"
    pace, masks = Pace(seconds("timeout", timeout), by_time), masks_of(mask)
    expected, address = flag("expect_all", expect_all), listen_address(host, port)
    found = playable(recording)
    cast = cast_of(found, masks, by_bytes=by_bytes)
    return Replay(found, _listening(address[0], address[1] or 0), cast, pace, expect_all=expected)


def cast_of(recording: Recording, masks: tuple[Expression, ...], *, by_bytes: bool) -> Cast:
    """Return who plays what, of a server."""
    return Cast([script_of(one, "server") for one in recording], masks, by_bytes=by_bytes)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, or raise BindError."""
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=kind, backlog=_BACKLOG)
    except OSError as error:
        where = address_text((host, port))
        why = error.strerror or str(error)
        raise BindError(error.errno, f"listener {where}: {why.lower()}; give port 0 for any free port") from error
