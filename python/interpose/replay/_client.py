"""Playing the clients' side of a record against a real server."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .._addresses import address_text
from .._checks import choice, seconds
from .._exceptions import ConnectError, RecordError, ReplayError, printable
from .._forward import Forward, ForwardTo, forward_of
from .._names import names_checked
from ._casting import Cast, Part
from ._channel import Channel, Pace
from ._channels import Channels
from ._dialling import dialled
from ._masks import Mask, masks_of
from ._player import NO_LINE
from ._recording import Recording, playable
from ._script import Script, script_of
from ._server import ARGUMENTS, SECONDS, Timing


@dataclass(slots=True)
class _Act:
    """A conversation that is to be played, is being played, or is over."""

    script: Script
    part: Part
    channel: Channel | None = None

    @property
    def line(self) -> int:
        """The line of the record at which it stands."""
        if self.channel is None:
            return self.script.conversation.line
        return NO_LINE if self.channel.is_over else self.part.player.line


@names_checked(ARGUMENTS, first=2)
def play(
    recording: Recording | str | os.PathLike[str],
    target: ForwardTo,
    *,
    timing: Timing = "lockstep",
    mask: Mask | Iterable[Mask] = (),
    timeout: float = SECONDS,
) -> int:
    """Play the clients' side of a record against a server, compare its answers, and return the number of conversations.

    What clients have sent is sent in the order of the record, also across connections, and only when all answers before
    it have come. Conversations that had no upstream are left out. The arguments are those of serve(); `target` is where
    the server listens. Raises ReplayError for the first answer that differs, ConnectError, RecordError and ConfigError.

    >>> import socket, tempfile
    >>> from interpose import replay
    >>> from interpose.testing import Proxy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Proxy("127.0.0.1:7070") as proxy, proxy.record(f"{folder}/session.jsonl"):
    ...         with socket.create_connection(proxy.address) as client:
    ...             client.sendall(b"hello")
    ...             answer = client.recv(5)
    ...     replay.play(f"{folder}/session.jsonl", "127.0.0.1:7070")
    1
    """
    by_time = choice("timing", timing, ("lockstep", "recorded")) == "recorded"
    pace, masks = Pace(seconds("timeout", timeout), by_time), masks_of(mask)
    forward = forward_of(target, "target")
    found = playable(recording)
    scripts = [script_of(one, "client") for one in found if one.upstream is not None]
    if not scripts:
        name = f" {found.name}" if found.name else ""
        raise RecordError(
            printable(f"record{name}: none of its connections had an upstream; record one that a server answers")
        )
    cast = Cast(scripts, masks, by_bytes=False)
    acts = [_Act(script, part) for script in scripts if (part := cast.enter()) is not None]
    faults: list[Channel] = []
    channels = Channels(lambda channel: faults.append(channel) if channel.fault else None)
    try:
        _play(acts, forward, channels, pace, faults)
        if faults:
            raise ReplayError(_line(found, faults[0]))
    finally:
        channels.close()
    return len(acts)


def _play(acts: Sequence[_Act], forward: Forward, channels: Channels, pace: Pace, faults: Sequence[Channel]) -> None:
    """Play all, until one goes wrong."""
    while not faults:
        _connect(acts, forward, channels, pace)
        channels.go_on()
        if all(act.channel is not None and act.line == NO_LINE for act in acts):
            # What has come by now is more than was expected.
            channels.turn(0.0)
            return
        if not any(act.channel is None and _is_next(acts, act) for act in acts):
            channels.turn(pace.timeout)


def _connect(acts: Sequence[_Act], forward: Forward, channels: Channels, pace: Pace) -> None:
    """Connect those whose turn has come."""
    for act in acts:
        if act.channel is None and _is_next(acts, act):
            sock = _connected(forward, pace.timeout)

            def may_say(act: _Act = act) -> bool:
                return _is_next(acts, act)

            act.channel = Channel(sock, act.part, pace, time.monotonic(), may_say)
            channels.add(act.channel)


def _is_next(acts: Sequence[_Act], act: _Act) -> bool:
    """Return whether all that was recorded before where `act` stands was played."""
    line = act.line
    return all(other.line >= line for other in acts)


def _connected(forward: Forward, timeout: float) -> socket.socket:
    """Return a socket that is connected, or raise ConnectError."""
    try:
        if forward.unix_path is not None:
            return dialled(socket.AF_UNIX, forward.unix_path, timeout)
        host, port = forward.address
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, _, _, _, name in found[:-1]:
            with suppress(OSError):
                return dialled(family, name, timeout)
        return dialled(found[-1][0], found[-1][4], timeout)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConnectError(f"replay: {address_text(forward.address)}: {why}; start the server first") from error


def _line(recording: Recording, channel: Channel) -> str:
    number = channel.part.player.script.conversation.number
    name = f" {recording.name}" if recording.name else ""
    return printable(f"replay{name}: connection {number}, {channel.fault}")
