"""The parser of the command line, and the server that its words mean."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from .. import _native
from .._addresses import address_text, host_text, without_tls
from .._exceptions import BindError, ConfigError, InterposeError, ResolveError, printable
from .._forward import Forward
from .._groups import (
    Callbacks,
    Capturing,
    CommandSettings,
    Limits,
    Listen,
    Looking,
    Misbehaving,
    Naming,
    Originating,
    Relay,
    ScriptSettings,
    ServerSettings,
    Terminating,
    Timeouts,
)
from .._kinds import Switch
from .._server import TheServer
from .._service_names import numbered
from .._settings_and_help import Setting, rows_of
from . import combinations
from .given import Given, Values, groups_of, of_options, of_variables, placed, settled
from .scripting.server import bind
from .scripting.server import check as checked
from .service_manager import listen_address
from .slips import check

if TYPE_CHECKING:
    from ..filters import Filter
    from ..framing import Framing


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener: LISTEN, TARGET as `forward`, and the groups of settings.

    `values` are the settings that were given for it, `place` is where: empty for the command line.
    """

    address: str
    forward: Forward
    server: ServerSettings
    timeouts: Timeouts
    limits: Limits
    listen: Listen
    relay: Relay
    callbacks: Callbacks
    scripts: ScriptSettings
    looking: Looking = field(default_factory=Looking)
    capture: Capturing = field(default_factory=Capturing)
    faults: Misbehaving = field(default_factory=Misbehaving)
    tls: Terminating = field(default_factory=Terminating)
    upstream: Originating = field(default_factory=Originating)
    sni: Naming = field(default_factory=Naming)
    is_secure: bool = False
    """True if TLS is spoken with TARGET."""
    before: tuple[Filter, ...] = field(default=(), compare=False, repr=False)
    """Filters before all that the settings mean."""
    values: Values = field(default_factory=dict[Setting, Given], compare=False, repr=False)
    place: str = field(default="", compare=False)

    @property
    def what(self) -> str:
        """Return the words for the first line, behind the address."""
        auto = self.tls.auto
        how = ("with TLS and without, " if auto else "with TLS, ") if self.tls.cert else ""
        how = ("looking inside TLS if any, " if auto else "looking inside TLS, ") if self.tls.intercept else how
        how = "looking inside TLS behind plaintext, " if self.tls.starttls else how
        return f"{how}forwarding {'by name, else ' if self.sni.targets else ''}to {self.target_text}"

    @property
    def target_text(self) -> str:
        """Return TARGET as one writes it."""
        return f"{'tls://' if self.is_secure else ''}{address_text(self.forward.address)}"

    @property
    def shows(self) -> bool:
        """Return whether standard output belongs to what it shows."""
        return combinations.shows_on_standard_output(self.looking) or self.capture.file == combinations.STANDARD_OUTPUT

    def bind(self) -> TheServer:
        """Return a server that listens and is not started."""
        try:
            return self._bind()
        except (BindError, ResolveError) as error:
            hint = f"; {self._swapped(error)}" if self._swapped(error) else ""
            if not hint and not self.place:
                raise
            raise type(error)(error.errno, f"{self.place and f'{self.place}: '}{error}{hint}") from error

    def _swapped(self, error: OSError) -> str:
        """Return what is meant if LISTEN and TARGET may have changed places; else nothing."""
        target = self.forward.address
        is_absent = error.errno == errno.EADDRNOTAVAIL or not isinstance(error, BindError)
        if self.place or not is_absent or target[0] not in ("127.0.0.1", "::1", "localhost"):
            return ""
        return f"LISTEN comes first: did you mean interpose {target[1]} {printable(self.address)}?"

    def _bind(self) -> TheServer:
        with placed(self.values):
            return bind(
                self.scripts,
                self.address,
                forward_to=self.target(),
                mirror_to=self.mirror(),
                timeouts=self.timeouts,
                limits=self.limits,
                listen=self.listen,
                relay=self._relay(),
                callbacks=self.callbacks,
                filters=self.filters(),
                framing=self._framing(),
                **self._tls(),
                **self.misbehaving(),
            )

    def _tls(self) -> dict[str, Any]:
        """Return the TLS with clients, made of its files; or raise ConfigError."""
        if self.sni != Naming():
            from .naming import by_name

            with placed(self.values):
                return {"tls": by_name(self.sni, is_decrypted=bool(self.tls.cert), is_secure=self.is_secure)}
        if not (self.tls.cert or self.tls.intercept or self.tls.starttls):
            return {}
        from .tls import tls_of

        with placed(self.values):
            return {"tls": tls_of(self.tls, self.upstream)}

    def target(self) -> Forward:
        """Return where clients go, with the TLS that is spoken there. Raises ConfigError."""
        # Clients without TLS go there without it, and so do those that begin without it.
        begins_plain = self.tls.starttls or (self.tls.intercept and self.tls.auto)
        if begins_plain and not self.is_secure and self.upstream.insecure:
            from .tls import warn_unchecked

            warn_unchecked(self.forward)
        always = self.tls.intercept and not begins_plain
        return self.secured(self.forward) if self.is_secure or always else self.forward

    def mirror(self) -> Forward | str | None:
        """Return where a copy of what clients send goes, as target() does."""
        address, is_secure = without_tls(self.server.mirror_to or "")
        return self.secured(Forward(address)) if is_secure else self.server.mirror_to

    def secured(self, forward: Forward) -> Forward:
        """Return a target with the TLS that is spoken with upstreams. Raises ConfigError."""
        from .tls import secured

        with placed(self.values):
            return secured(forward, self.upstream, self.tls.keylog)

    def check_tls(self) -> None:
        """Raise ConfigError where the files of TLS will not do."""
        self._tls()
        self.target()
        self.mirror()

    def misbehaving(self) -> dict[str, Any]:
        """Return the faults of the server and their seed, or raise ConfigError."""
        # Nothing of faults is imported without them.
        if self.faults == Misbehaving():
            return {}
        from .misbehaving import faults_of

        with placed(self.values):
            return {"faults": faults_of(self.faults), "seed": self.faults.seed}

    @property
    def cuts(self) -> tuple[object, ...]:
        """How its messages are cut, which is fixed while it listens."""
        looking = self.looking
        is_cut = looking.framing is not None and (looking.replace or looking.replace_regex)
        return (looking.framing, looking.framing_errors) if is_cut else ()

    def filters(self) -> list[Filter]:
        """Return its filters, made anew. Raises ConfigError."""
        made: list[Filter] = [*self.before]
        # Nothing of filters is imported without them. A capture is before what replaces: it has what clients have sent.
        with placed(self.values):
            if self.capture != Capturing():
                from .capturing import captures_of

                made += captures_of(self.capture)
            if self.looking != Looking():
                from .looking import filters_of

                made += filters_of(self.looking)
        return made

    def check_scripts(self) -> None:
        """Raise ConfigError where scripts are missing or no Python, and run nothing of them."""
        with placed(self.values):
            checked(self.scripts)

    def check_filters(self) -> None:
        """Raise ConfigError where filters() would, and open no file."""
        with placed(self.values):
            if self.capture != Capturing():
                from .capturing import check_capture

                check_capture(self.capture)
            if self.looking != Looking():
                from .looking import check_looking

                check_looking(self.looking)

    def _relay(self) -> Relay:
        """Return how bytes are moved. A framing that is there for replacing ends no connection, unless asked to."""
        given = {row.key for row in self.values}
        is_said = "relay.framing_errors" in given and "looking.framing_errors" not in given
        if self.looking.framing is None or is_said:
            return self.relay
        return replace(self.relay, framing_errors=self.looking.framing_errors)

    def _framing(self) -> Framing | None:
        """Return the framing of the server: what is replaced may change the lengths of messages."""
        if not (self.looking.replace or self.looking.replace_regex):
            return None
        from .looking import server_framing

        return server_framing(self.looking)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, understood: what is to listen, and the settings of the command itself.

    `values` are the settings of the command that were given. `again` reads all anew, if it is to be read again.
    """

    listeners: tuple[Listener, ...]
    command: CommandSettings
    values: Values = field(default_factory=dict[Setting, Given], compare=False, repr=False)
    again: Callable[[], Options] | None = field(default=None, compare=False, repr=False)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are like every other error of the command."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"arguments: {message}; see interpose --help")


def parse(words: Sequence[str], variables: Mapping[str, str] = os.environ) -> Options:
    """Return what `words` mean, and `variables` where no option does; raise AddressError or ConfigError."""
    options = parser()
    has_others = bool(variables.get("INTERPOSE_CONFIG") or variables.get("INTERPOSE_TOXIPROXY_API"))
    has_addresses = check(words, options, has_file=has_others)
    found = options.parse_intermixed_args(words)
    if has_addresses:
        # Checked by name: an empty LISTEN is a slip of the shell's, not the library's default.
        found.listen = listen_address(host_text("LISTEN", found.listen), variables)
        _native.parse_address(numbered(found.listen))
    given = of_options(vars(found))
    given = settled(of_variables(variables, given), given)
    command: CommandSettings = groups_of(given)["command"]
    if has_addresses or command.config is None:
        alone = (_listener(found.listen, found.target, given),) if has_addresses else ()
        return Options(alone, command, given)
    # tomllib is not imported without need.
    from . import config_file

    file = config_file.read(command.config)
    listeners: list[Listener] = []
    for entry in file.entries:
        place = file.text.place((*entry.path, "listen"))
        try:
            listeners.append(
                _listener(entry.listen, entry.forward_to, settled(file.values, entry.values, given), place)
            )
        except InterposeError as error:
            source = (*entry.path, "forward", "source")
            if f"{error}".startswith("source ") and file.text.has(source):
                file.text.refuse(source, f"forward.{error}", of_value=True)
            file.text.refuse((*entry.path, "forward_to"), f"forward_to: {error}", of_value=True)
    values = settled(file.values, given)
    return Options(tuple(listeners), groups_of(values)["command"], values, lambda: parse(words, variables))


def _listener(address: str, target: str, values: Values, place: str = "") -> Listener:
    groups = groups_of(values)
    if groups.pop("command").toxiproxy_api is not None and not groups["faults"].fault:
        # The seed is for the toxics, then.
        groups["faults"] = Misbehaving()
    connecting = groups.pop("forward")
    plain, is_secure = without_tls(target)
    fallback = [without_tls(one) for one in connecting.fallback]
    if alone := [one for one, has_tls in fallback if has_tls and not is_secure]:
        raise ConfigError(
            f"--fallback: tls://{alone[0]} has TLS and TARGET has none; write tls:// before TARGET, which is for all"
        )
    forward = Forward(
        plain,
        connect_timeout=connecting.connect_timeout,
        source=connecting.source,
        fallback=[one for one, _ in fallback],
        retry=connecting.retry,
    )
    if forward.address[1] == 0:
        raise ConfigError(f"TARGET: {target!r} has port 0, which no one listens on; give the port of the upstream")
    return Listener(address=address, forward=forward, is_secure=is_secure, values=values, place=place, **groups)


def parser() -> argparse.ArgumentParser:
    """Return the parser, whose options are the rows of the table."""
    made = _Parser(prog="interpose", add_help=False, allow_abbrev=False)
    made.add_argument("listen", metavar="LISTEN", nargs="?")
    made.add_argument("target", metavar="TARGET", nargs="?")
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
