"""The command line's options, and the server they mean."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NoReturn

from . import _native
from ._config import Limits, Timeouts, count, host_text, seconds
from ._exceptions import ConfigError, printable
from ._forward import Forward
from ._server import TheServer


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked to do. Times are seconds; None is no limit."""

    listen: str
    forward: Forward
    timeouts: Timeouts
    limits: Limits
    backlog: int
    drain: float
    reuse_port: bool
    splice: bool
    coalesce: bool
    public: bool
    verbose: bool
    quiet: bool

    def bind(self) -> TheServer:
        """Return a server that listens and is not started."""
        return TheServer(
            self.listen,
            forward_to=self.forward,
            timeouts=self.timeouts,
            limits=self.limits,
            backlog=self.backlog,
            reuse_port=self.reuse_port,
            splice=self.splice,
            coalesce=self.coalesce,
            public=self.public,
        )


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are like every other error of the command."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"arguments: {message}; see interpose --help")


def parse(words: list[str]) -> Options:
    """Return what `words` mean, or raise AddressError or ConfigError."""
    found = parser().parse_args(words)
    # Checked by name: an empty LISTEN is a slip of the shell's, not the library's default.
    _native.parse_address(host_text("LISTEN", found.listen))
    most = found.max_connections
    return Options(
        listen=found.listen,
        forward=Forward(
            found.target, connect_timeout=_seconds("--connect-timeout", found.connect_timeout), source=found.source
        ),
        timeouts=Timeouts(
            half_close=_limit("--half-close-timeout", found.half_close_timeout),
            idle=_limit("--idle-timeout", found.idle_timeout),
        ),
        limits=Limits(None if most is None else _count("--max-connections", most)),
        backlog=_count("--backlog", found.backlog),
        drain=_seconds("--drain", found.drain, zero=True),
        reuse_port=found.reuse_port,
        splice=not found.no_splice,
        coalesce=not found.no_coalesce,
        public=found.public,
        verbose=found.verbose,
        quiet=found.quiet,
    )


def parse_echo(words: list[str]) -> str:
    """Return the address that `interpose echo` is to listen on, or raise AddressError or ConfigError."""
    from ._echo import DEFAULT_LISTEN

    options = [word for word in words if word.startswith("-")]
    if options or len(words) > 1:
        extra = printable((options or words[1:])[0])
        raise ConfigError(f"arguments: echo takes no {extra!r}; write interpose echo, or interpose echo 7070")
    listen = words[0] if words else DEFAULT_LISTEN
    _native.parse_address(host_text("LISTEN", listen))
    return listen


def parser() -> argparse.ArgumentParser:
    """Return the parser. Its help is a constant elsewhere, so that showing it needs no parser."""
    made = _Parser(prog="interpose", add_help=False, allow_abbrev=False)
    add = made.add_argument
    add("listen", metavar="LISTEN")
    add("target", metavar="TARGET")
    add("--drain", metavar="SECONDS", default="30")
    add("--connect-timeout", metavar="SECONDS", default="10")
    add("--half-close-timeout", metavar="SECONDS", default="120")
    add("--idle-timeout", metavar="SECONDS", default="none")
    add("--max-connections", metavar="N")
    add("--source", metavar="IP")
    add("--backlog", metavar="N", default="1024")
    add("--reuse-port", action="store_true")
    add("--no-splice", action="store_true")
    add("--no-coalesce", action="store_true")
    add("--public", action="store_true")
    volume = made.add_mutually_exclusive_group()
    volume.add_argument("-v", "--verbose", action="store_true")
    volume.add_argument("-q", "--quiet", action="store_true")
    return made


def _seconds(option: str, text: str, *, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is not a number of seconds; give one such as 10") from None
    return seconds(option, value, zero=zero)


def _limit(option: str, text: str) -> float | None:
    return None if text == "none" else _seconds(option, text)


def _count(option: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is not a whole number; give one such as 1024") from None
    return count(option, value, 1)
