"""The keywords that TheServer had before its settings came in groups. They are accepted for one more release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypedDict, TypeVar, cast

from ._checks import instance
from ._exceptions import ConfigError
from ._settings_and_help import rows_of

_Group = TypeVar("_Group")


class OldKeywords(TypedDict, total=False):
    """The type of each; the groups document their meaning."""

    callback_threads: int
    callback_errors: Literal["close", "pass", "raise"]
    callback_timeout: float | None
    on_timeout: Literal["close", "pass", "drop"]
    buffer: Literal["bytes", "view"]
    buffer_size: int | None
    backlog: int
    reuse_port: bool
    splice: bool
    coalesce: bool
    public: bool


OLD_KEYWORDS = frozenset(OldKeywords.__annotations__)


def group_of(name: str, given: object, kind: type[_Group], old: OldKeywords) -> _Group:
    """Return the group `given`, with those of the old keywords that belong to it, or raise what its class raises."""
    group = instance(name, given, kind)
    changes: dict[str, Any] = {}
    for row in rows_of(name):
        keyword = row.name if row.name in OLD_KEYWORDS else f"callback_{row.name}"
        if keyword in old:
            value = row.kind.check(keyword, cast("dict[str, object]", old)[keyword])
            if getattr(group, row.name) not in (row.default, value):
                raise ConfigError(f"{keyword}: it is given twice; leave it to {kind.__name__}({row.name}=...)")
            changes[row.name] = value
    return replace(cast("Any", group), **changes) if changes else group
