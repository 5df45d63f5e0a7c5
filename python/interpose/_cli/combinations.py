"""Settings that do not go together, or say nothing without another, over all listeners."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol

from .._exceptions import ConfigError, printable
from .._groups import Capturing, CommandSettings, Looking, Originating, ScriptSettings, ServerSettings, Terminating
from .._settings_and_help import Setting, rows_of
from .given import LISTENER, OPTION, VARIABLE, Values

STANDARD_OUTPUT = "-"
"""The file name that stands for it."""


class Chosen(Protocol):
    """The part of a listener that is compared with those of others."""

    @property
    def values(self) -> Values:
        """Return the settings that were given for it."""
        ...

    @property
    def scripts(self) -> ScriptSettings:
        """Return its scripts."""
        ...

    @property
    def looking(self) -> Looking:
        """Return how it shows what passes."""
        ...

    @property
    def capture(self) -> Capturing:
        """Return where its packets go."""
        ...

    @property
    def server(self) -> ServerSettings:
        """Return where the copy of what clients send goes."""
        ...

    @property
    def tls(self) -> Terminating:
        """Return the TLS with clients."""
        ...

    @property
    def upstream(self) -> Originating:
        """Return the TLS with its targets."""
        ...

    @property
    def is_secure(self) -> bool:
        """Return whether TLS is spoken with TARGET."""
        ...

    @property
    def target_text(self) -> str:
        """Return TARGET."""
        ...


def shows_on_standard_output(looking: Looking) -> bool:
    """Return whether standard output has what passes."""
    return (looking.hexdump or looking.text or looking.json) and looking.output in (None, STANDARD_OUTPUT)


def check(listeners: Sequence[Chosen], command: CommandSettings, values: Values, *, has_file: bool) -> None:
    """Raise ConfigError for settings that do not go together. `values` are those of the command."""
    on_reload = _row("command", "on_reload")
    # A variable may be there for other runs.
    if not has_file and on_reload in values and values[on_reload].rank == OPTION:
        _refuse(values, on_reload, f"{command.on_reload} is for a settings file that is read again; add --config FILE")
    if not listeners:
        _check_lonely(values)
    _check_set(listeners)
    for one in listeners:
        _check_tls(one)
    captured: dict[str, Capturing] = {}
    for one in listeners:
        path = one.capture.file
        if path is None:
            continue
        row = _row("capture", "file")
        place = path if path == STANDARD_OUTPUT else os.path.realpath(path)
        if captured.setdefault(place, one.capture) != one.capture:
            _refuse(one.values, row, f"{path} is written by another listener with other settings; give another file")
        shown = [other for other in listeners if _shows_in(other.looking, path)]
        if shown and path == STANDARD_OUTPUT:
            way = next(way for way in ("hexdump", "text", "json") if getattr(shown[0].looking, way))
            _refuse(one.values, row, f"standard output has what --{way} shows; add --output FILE, or write to a file")
        elif shown:
            _refuse(one.values, row, f"{path} is the file of --output, too; give another one")


def _check_lonely(values: Values) -> None:
    """Raise ConfigError for an option of listeners where there is none."""
    for row, given in values.items():
        if row.group != "command" and row.key != "faults.seed" and given.rank == OPTION:
            _refuse(values, row, "it is for LISTEN and TARGET, which are missing; give them, or leave it out")


def _check_set(listeners: Sequence[Chosen]) -> None:
    if any(one.scripts.script or one.scripts.code for one in listeners):
        return
    for one in listeners:
        if one.scripts.set:
            _refuse(one.values, _row("scripts", "set"), "there is no script that has options; add --script FILE")


def _check_tls(one: Chosen) -> None:
    """Raise ConfigError for settings of TLS that say nothing, or contradict each other."""
    given = [row for row, value in one.values.items() if value.rank in (LISTENER, OPTION)]
    keylog = _row("tls", "keylog")
    for row in (keylog, _row("capture", "keys")):
        if row in one.values and one.values[row].rank == VARIABLE:
            why = f"secrets are not written for a variable alone; give {row.flag} FILE, or unset it"
            _refuse(one.values, row, why)
    looks_inside = one.tls.intercept or one.tls.starttls
    has_upstream = one.is_secure or looks_inside or (one.server.mirror_to or "").startswith("tls://")
    for row in given:
        if row is keylog and not (one.tls.cert or has_upstream):
            _refuse(one.values, row, "nothing here speaks TLS; add --tls-cert FILE, or write tls:// before TARGET")
        if row.group == "tls" and row.name in ("key", "client_ca", "client_crl", "alpn") and looks_inside:
            _refuse(one.values, row, "with --intercept certificates are made, as the target's; leave one of them out")
        if row.group == "tls" and row is not keylog and not (one.tls.cert or looks_inside):
            other = " or --intercept" if row.name == "auto" else ""
            _refuse(one.values, row, f"there is no certificate; add --tls-cert FILE{other}")
        if row.group == "upstream" and not has_upstream:
            _refuse(one.values, row, f"TLS is not spoken with TARGET; write tls://{one.target_text}")
    if looks_inside and one.tls.cert:
        row = _row("tls", "starttls" if one.tls.starttls else "intercept")
        _refuse(one.values, row, "clients are shown --tls-cert; leave one of them out")
    certs, keys = len(one.tls.cert), len(one.tls.key)
    if certs and keys not in (0, certs):
        why = f"there are {keys} keys for {certs} certificates; give one for each, in their order, or none"
        _refuse(one.values, _row("tls", "key"), why)
    if one.upstream.key is not None and one.upstream.cert is None:
        _refuse(one.values, _row("upstream", "key"), "there is no certificate for it; add --upstream-cert FILE")
    if one.tls.client_crl is not None and one.tls.client_ca is None:
        _refuse(one.values, _row("tls", "client_crl"), "clients are asked for no certificate; add --tls-client-ca FILE")
    for name in ("ca", "crl"):
        if one.upstream.insecure and getattr(one.upstream, name) is not None:
            why = f"--upstream-{name} is not looked at then; leave one of them out"
            _refuse(one.values, _row("upstream", "insecure"), why)


def _shows_in(looking: Looking, path: str) -> bool:
    if path == STANDARD_OUTPUT or looking.output in (None, STANDARD_OUTPUT):
        return path == STANDARD_OUTPUT and shows_on_standard_output(looking)
    return os.path.realpath(path) == os.path.realpath(looking.output)


def _row(group: str, name: str) -> Setting:
    rows: Iterable[Setting] = rows_of(group)
    return next(row for row in rows if row.name == name)


def _refuse(values: Values, row: Setting, why: str) -> NoReturn:
    given = values[row]
    where = given.name if given.place == given.name else f"{given.place}: {given.name}"
    raise ConfigError(printable(f"{where}: {why}"))
