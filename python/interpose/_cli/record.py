"""`interpose record`: forward every client, and record what passes for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .._exceptions import ConfigError, printable
from .._groups import Looking
from ..filters import Record
from .combinations import check as check_combinations
from .console import FAILED, complain
from .looking import framing_of
from .parsing import parse
from .served import Served
from .serving import serve

_EXAMPLE = "interpose record 9090 127.0.0.1:6379 session.jsonl"
_PLACES = ("LISTEN", "TARGET", "FILE")
_LAST_SECONDS = 2.0


def run(words: Sequence[str]) -> int:
    """Serve until a signal ends it, and return the exit code."""
    places = [word for word in words[:3] if not word.startswith("-")]
    if len(places) < len(_PLACES):
        missing = _PLACES[len(places)]
        raise ConfigError(f"record: {missing} is missing; LISTEN, TARGET and FILE come first: {_EXAMPLE}")
    listen, target, file = places
    options = parse([listen, target, *words[3:]])
    check_combinations(options.listeners, options.command, options.values, has_file=False)
    (listener,) = options.listeners
    record = Record(file, framing=framing_of(listener.looking.framing))
    listeners = [replace(listener, before=(record,), looking=_beside_record(listener.looking))]
    code = serve(Served(listeners, options.command.drain), options.command)
    if not record.close(_LAST_SECONDS):
        complain(f"record {printable(file)}: it is not yet written; what passed last is lost")
        return FAILED
    if record.missed_events:
        complain(
            f"record {printable(file)}: {record.missed_events} events with {record.missed_bytes} bytes were left out, "
            "so it cannot be replayed; record again, onto a faster disk, or less at once"
        )
        return FAILED
    return code


def _beside_record(looking: Looking) -> Looking:
    """Return how it shows and replaces: a framing may be there for the record alone."""
    is_used = any((looking.hexdump, looking.text, looking.json, looking.replace, looking.replace_regex))
    return looking if is_used else replace(looking, framing=None)
