"""The groups of settings as users have them: frozen dataclasses, whose fields are the rows of the table."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from . import _native
from ._names import names_checked, others_of
from ._settings_and_help import (
    GROUPS,
    Callbacks,
    Capturing,
    CommandSettings,
    ForwardSettings,
    Group,
    Limits,
    Listen,
    Looking,
    Misbehaving,
    Naming,
    Originating,
    Relay,
    ScriptSettings,
    ServerSettings,
    Setting,
    Terminating,
    Timeouts,
)

__all__ = [
    "Callbacks",
    "Capturing",
    "CommandSettings",
    "ForwardSettings",
    "Limits",
    "Listen",
    "Looking",
    "Misbehaving",
    "Naming",
    "Originating",
    "Relay",
    "ScriptSettings",
    "ServerSettings",
    "Terminating",
    "Timeouts",
    "native_config",
]


def _complete(group: Group) -> None:
    """Make the group's class a frozen dataclass that checks its values."""
    kind: Any = group.kind

    def check(self: object) -> None:
        for row in group.rows:
            object.__setattr__(self, row.name, row.kind.check(row.name, getattr(self, row.name)))

    kind.__annotations__ = get_type_hints(kind, localns={"Literal": Literal})
    for row in group.rows:
        setattr(kind, row.name, row.default)
    kind.__post_init__ = check
    first, _, rest = kind.__doc__.partition("\n\n")
    kind.__doc__ = "\n".join([first, "", *map(_bullet_of, group.rows), "", rest])
    # The module that users import it from, and that pickles name.
    kind.__module__ = __package__
    dataclass(frozen=True)(kind)
    kind.__init__ = names_checked(others_of(group.name))(kind.__init__)


def native_config(*groups: object) -> _native.Config:
    """Return the native side's twin of `groups`: those of their settings that it knows."""
    pairs = [(table, group) for table in GROUPS for group in groups if isinstance(group, table.kind)]
    rows = [(row, getattr(group, row.name)) for table, group in pairs for row in table.rows if row.native]
    # A count that is None is the core's to choose; a time that is None is no limit.
    return _native.Config(**{row.name: value for row, value in rows if value is not None or row.kind.none_counts})


def _bullet_of(row: Setting) -> str:
    return textwrap.fill(f"* `{row.name}`: {row.meaning}.", 116, initial_indent="    ", subsequent_indent="      ")


for _group in GROUPS:
    # After a reload of this module alone they are complete.
    if not hasattr(_group.kind, "__dataclass_fields__"):
        _complete(_group)
