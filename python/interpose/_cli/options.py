"""The command line's options, and the server they mean."""

from __future__ import annotations

import argparse
import errno
import re
from dataclasses import dataclass
from typing import NoReturn

from .. import _native
from .._addresses import host_text
from .._checks import count, seconds
from .._exceptions import BindError, ConfigError, ResolveError, printable
from .._forward import Forward
from .._server import TheServer
from .._settings import Limits, Timeouts
from .slips import check

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_NO_LIMIT = ("none", "no", "off", "never", "inf", "infinite", "infinity", "unlimited")


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
        try:
            return self._bind()
        except (BindError, ResolveError) as error:
            if isinstance(error, BindError) and error.errno != errno.EADDRNOTAVAIL:
                raise
            target = self.forward.address
            if target[0] not in ("127.0.0.1", "::1", "localhost"):
                raise
            hint = f"LISTEN comes first: did you mean interpose {target[1]} {printable(self.listen)}?"
            raise type(error)(error.errno, f"{error}; {hint}") from error

    def _bind(self) -> TheServer:
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
    options = parser()
    check(words, options)
    found = options.parse_args(words)
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
        drain=_drain(found.drain),
        reuse_port=found.reuse_port,
        splice=not found.no_splice,
        coalesce=not found.no_coalesce,
        public=found.public,
        verbose=found.verbose,
        quiet=found.quiet,
    )


def parse_echo(words: list[str]) -> str:
    """Return the address that `interpose echo` is to listen on, or raise AddressError or ConfigError."""
    from .echo import DEFAULT_LISTEN

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
        value = _with_units(option, text)
    # As the command writes times, and not as Python does.
    if not value >= 0 or (value < 0.001 and not (zero and value == 0)):
        wrong = "less than a millisecond" if value >= 0 else "negative" if value < 0 else "not a number"
        raise ConfigError(f"{option}: {text!r} is {wrong}; write seconds, or 200ms, 10s, 5m or 1h30m")
    return seconds(option, value, zero=zero)


def _with_units(option: str, text: str) -> float:
    """Return the seconds of a text such as 200ms, 10s, 5m or 1h30m."""
    if not re.fullmatch(rf"(?:{_TIME})+", text):
        raise ConfigError(f"{option}: {text!r} is not a time; write seconds, or 200ms, 10s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_TIME, text))


def _drain(text: str) -> float:
    if text in _NO_LIMIT:
        raise ConfigError(f"--drain: {text!r} would never end; write a time, such as 1h, or 0 to stop at once")
    return _seconds("--drain", text, zero=True)


def _limit(option: str, text: str) -> float | None:
    if text == "none":
        return None
    if text in _NO_LIMIT or (re.fullmatch(r"[+-]?0*\.?0*(ms|s|m|h|d)?|-1", text) and text):
        raise ConfigError(f"{option}: {text!r} is not a time to wait; write none for no limit")
    return _seconds(option, text)


def _count(option: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is not a whole number; {_advice(option, text)}") from None
    return count(option, value, 1)


def _advice(option: str, text: str) -> str:
    """Say how the number is written that `text` may mean."""
    if thousands := re.fullmatch(r"(\d{1,7})[kK]", text):
        return f"write {thousands[1]}000"
    if re.fullmatch(r"\d{1,3}([,.' ]\d{3})+", text):
        return f"write {re.sub('[^0-9]', '', text)}"
    if text in _NO_LIMIT and option == "--max-connections":
        return "leave it out for as many as the descriptors allow, or give one such as 50000"
    return "give one such as 1024"
