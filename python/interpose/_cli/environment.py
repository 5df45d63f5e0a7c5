"""The environment variables that stand for options."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from .._exceptions import ConfigError, printable
from .._kinds import Switch
from .._settings_and_help import Setting, rows_of

_PREFIX = "INTERPOSE_"
# Below that, a variable of this beginning may be somebody else's: a cluster's has the name of the service in it.
_LIKE = 0.8


def texts(environment: Mapping[str, str]) -> dict[Setting, str]:
    """Return the text of each setting that the environment sets. An empty variable counts as not set.

    Raise ConfigError for a name that is nearly one of a setting.
    """
    known = {row.variable: row for row in rows_of() if row.variable}
    for name in environment:
        if name.startswith(_PREFIX) and name not in known and environment[name]:
            _check_name(name, known)
    return {row: environment[name] for name, row in known.items() if environment.get(name)}


def _check_name(name: str, known: Mapping[str, Setting]) -> None:
    plain = name.removeprefix(_PREFIX)
    positive = _PREFIX + plain.removeprefix("NO_")
    if positive in known and isinstance(known[positive].kind, Switch):
        raise ConfigError(f"{name}: there is no such variable; write {positive}=no")
    rights = [right.removeprefix(_PREFIX) for right in known]
    near = [right for right in rights if right.startswith(plain)] if len(plain) > 3 else []
    near = near or difflib.get_close_matches(plain, rights, 1, _LIKE)
    if near:
        meant = " or ".join(_PREFIX + right for right in near)
        raise ConfigError(printable(f"{name}: there is no such variable; did you mean {meant}?"))
