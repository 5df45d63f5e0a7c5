"""`interpose replay`: play one side of a record, for a real client or a real server."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, cast

from .. import _native
from .._addresses import host_text
from .._exceptions import ConfigError, ReplayError, printable
from .._kinds import Seconds
from .._service_names import numbered
from ..replay import Recording, Replay, play, serve
from .arguments import Words, read_words
from .commands import command_of
from .console import FAILED, OK, complain, say

_SECONDS = 10.0
_STEP_SECONDS = 0.05

Timing = Literal["lockstep", "recorded"]
Match = Literal["order", "bytes"]


def run(words: Sequence[str]) -> int:
    """Play a record, say what went on otherwise, and return the exit code."""
    asked = read_words(command_of(["replay"]), words)
    if not asked.places:
        raise ConfigError("replay: the file is missing; write interpose replay session.jsonl --as server 6379")
    role = asked.options.get("--as", "server")
    masks = [text.encode("utf-8", "surrogateescape") for text in asked.repeated.get("--mask", [])]
    timing = cast("Timing", asked.options.get("--timing", "lockstep"))
    timeout = _timeout(asked)
    try:
        if role == "client":
            _check_client(asked)
            count = play(asked.places[0], asked.places[1], timing=timing, mask=masks, timeout=timeout)
        else:
            count = _served(asked, timing, masks, timeout)
    except ReplayError as error:
        for line in f"{error}".splitlines():
            complain(line)
        return FAILED
    say(f"interpose: {count} connection{' was' if count == 1 else 's were'} replayed")
    return OK


def _timeout(asked: Words) -> float:
    text = asked.options.get("--timeout")
    return _SECONDS if text is None else cast("float", Seconds().read("--timeout", text))


def _check_client(asked: Words) -> None:
    if len(asked.places) < 2:
        name = printable(asked.places[0])
        raise ConfigError(f"replay: TARGET is missing; write interpose replay {name} --as client 127.0.0.1:6379")
    if "--match" in asked.options:
        raise ConfigError("--match: it says how clients are matched, and --as client is one; leave it out")


def _served(asked: Words, timing: Timing, masks: Sequence[bytes], timeout: float) -> int:
    """Play the server until all was played, or no client comes any more; return the number of conversations."""
    host, port = _listen(asked.places[1] if len(asked.places) > 1 else "0")
    match = cast("Match", asked.options.get("--match", "order"))
    recording = Recording.load(asked.places[0])
    with suppress(ValueError, OSError):
        # Both end it with what there is to be said.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = serve(recording, host=host, port=port, match=match, timing=timing, mask=masks, timeout=timeout)
    count = len(recording)
    try:
        say(f"interpose: listening on {server}, replaying {count} connection{'' if count == 1 else 's'}")
        _wait(server, timeout)
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
    server.check()
    return count


def _wait(server: Replay, timeout: float) -> None:
    """Wait until all was played, and the clients have ended; or until none has come for `timeout` seconds."""
    while not server.wait(_STEP_SECONDS):
        if server.idle_seconds > timeout:
            return
    end = time.monotonic() + timeout
    while server.live_connections and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)


def _listen(text: str) -> tuple[str, int]:
    name = _native.parse_address(numbered(host_text("LISTEN", text)))
    if isinstance(name, str):
        raise ConfigError(f"LISTEN: {printable(text)} is no port; a replay listens on one, such as 6379")
    return name
