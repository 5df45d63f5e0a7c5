"""The parser of the command line, and the server that its words mean."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .. import _native
from .._addresses import address_text, host_text
from .._exceptions import BindError, ConfigError, ResolveError, printable
from .._forward import Forward
from .._groups import CommandSettings, ForwardSettings, Limits, Listen, Relay, ServerSettings, Timeouts
from .._kinds import Switch
from .._server import TheServer
from .._settings_and_help import GROUPS, Setting, rows_of
from . import environment
from .slips import check


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener: LISTEN, TARGET as `forward`, and the groups of settings."""

    address: str
    forward: Forward
    server: ServerSettings
    timeouts: Timeouts
    limits: Limits
    listen: Listen
    relay: Relay

    @property
    def what(self) -> str:
        """Return the words for the first line, behind the address."""
        return f"forwarding to {address_text(self.forward.address)}"

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
            hint = f"LISTEN comes first: did you mean interpose {target[1]} {printable(self.address)}?"
            raise type(error)(error.errno, f"{error}; {hint}") from error

    def _bind(self) -> TheServer:
        return TheServer(
            self.address,
            forward_to=self.forward,
            mirror_to=self.server.mirror_to,
            timeouts=self.timeouts,
            limits=self.limits,
            listen=self.listen,
            relay=self.relay,
        )


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, understood: what is to listen, and the settings of the command itself."""

    listeners: tuple[Listener, ...]
    command: CommandSettings


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are like every other error of the command."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"arguments: {message}; see interpose --help")


def parse(words: Sequence[str], variables: Mapping[str, str] = os.environ) -> Options:
    """Return what `words` mean, and `variables` where no option does; raise AddressError or ConfigError."""
    options = parser()
    check(words, options)
    found = options.parse_args(words)
    # Checked by name: an empty LISTEN is a slip of the shell's, not the library's default.
    _native.parse_address(host_text("LISTEN", found.listen))
    groups = _groups(found, variables)
    connecting: ForwardSettings = groups.pop("forward")
    command = groups.pop("command")
    listener = Listener(
        address=found.listen,
        forward=Forward(
            found.target,
            connect_timeout=connecting.connect_timeout,
            source=connecting.source,
            fallback=connecting.fallback,
            retry=connecting.retry,
        ),
        **groups,
    )
    return Options((listener,), command)


def _groups(found: argparse.Namespace, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the groups that have an option, by name. An option goes before its variable, that before the default."""
    options = {row: value for row in rows_of() if (value := getattr(found, row.key, None)) is not None}
    texts = {row: text for row, text in environment.texts(variables).items() if row not in options}
    values = {row: row.kind.read(row.variable, text) for row, text in texts.items()}
    for row, value in options.items():
        if row.kind.repeats:
            values[row] = row.kind.check(row.flag, value)
        else:
            values[row] = value if isinstance(row.kind, Switch) else row.kind.read(row.flag, value)
    _settle_volume(values, options)
    return {
        group.name: group.kind(**{row.name: values[row] for row in group.rows if row in values})
        for group in GROUPS
        if any(row.flag for row in group.rows)
    }


def _settle_volume(values: dict[Setting, object], options: Mapping[Setting, object]) -> None:
    """Let an option go before the variable of its opposite, and refuse both of a kind."""
    both = [row for row in rows_of("command") if row.name in ("verbose", "quiet") and values.get(row)]
    if len(both) < 2:
        return
    variables = [row for row in both if row not in options]
    if len(variables) != 1:
        first, second = (row.variable if variables else row.flag for row in both)
        raise ConfigError(f"{second}: it is not allowed with {first}; give one of them")
    values[variables[0]] = False


def parser() -> argparse.ArgumentParser:
    """Return the parser, whose options are the rows of the table."""
    made = _Parser(prog="interpose", add_help=False, allow_abbrev=False)
    made.add_argument("listen", metavar="LISTEN")
    made.add_argument("target", metavar="TARGET")
    for row in rows_of():
        if not row.flag:
            continue
        names = [row.short, row.flag] if row.short else [row.flag]
        # The default is set later: an option that is not given leaves room for its variable.
        if isinstance(row.kind, Switch):
            opposite = f"--{row.long}" if row.flag.startswith("--no-") else f"--no-{row.long}"
            on, off = (names, [opposite]) if opposite.startswith("--no-") else ([opposite], names)
            made.add_argument(*on, dest=row.key, action="store_const", const=True)
            made.add_argument(*off, dest=row.key, action="store_const", const=False)
        else:
            action = "append" if row.kind.repeats else "store"
            made.add_argument(*names, dest=row.key, metavar=row.kind.metavar, action=action)
    return made
