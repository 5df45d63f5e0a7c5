"""The parts of the table of settings: rows, and groups of them. The table itself is in _settings_and_help."""

from __future__ import annotations

# Type checkers take this as True. To them a group is a dataclass whose fields are its rows.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    from ._kinds import Kind

    _Class = TypeVar("_Class", bound=type)


class Setting:
    """A row. `name` and `group` are its place in the table; the other attributes are the arguments of setting()."""

    def __init__(self, default: object, kind: Kind, options: tuple[str, str], texts: tuple[str, str]) -> None:
        self.name = ""
        self.group = ""
        self.table = ""
        self.default = default
        self.kind = kind
        self.flag, self.short = options
        self.help, self.meaning = texts
        self.others = ""
        self.native = False
        self.in_file = True

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def key(self) -> str:
        """The key of a settings file: the table's name and the setting's, which stands alone where that is empty."""
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def variable(self) -> str:
        """The environment variable that the command reads; empty without an option."""
        return "INTERPOSE_" + self.long.replace("-", "_").upper() if self.flag else ""

    @property
    def long(self) -> str:
        """The option's name without hyphens, as it switches a switch on."""
        return self.flag.removeprefix("--").removeprefix("no-")

    @property
    def shown_default(self) -> str:
        """The default as the command's user would write it."""
        return self.kind.show(self.default)


def setting(
    *,
    default: object,
    kind: Kind,
    meaning: str,
    flag: str = "",
    short: str = "",
    help: str = "",  # noqa: A002 (what it is everywhere else)
    others: str = "",
    native: bool = False,
    in_file: bool = True,
) -> Any:
    """Return a row of the table.

    * `default`, `kind`: the value when nothing is said, and what other values may be.
    * `meaning`: a sentence without its dot, for the docstring and the reference.
    * `flag`, `short`: the command's option. For a switch that is on by default, the option that switches it off.
    * `help`: the option's line of --help, if `meaning` is too long for one.
    * `others`: names that others have for it, answered with this one.
    * `native`: whether the native side has a setting of this name.
    * `in_file`: whether a settings file may have it.
    """
    row = Setting(default, kind, (flag, short), (help or meaning, meaning))
    row.others, row.native, row.in_file = others, native, in_file
    return row


class Group:
    """Rows that belong together, in the order of their class.

    `title` is the heading of --help, `given_as` how a program sets one of them, `table` their table in a settings file:
    the group's name, or another, or none.
    """

    def __init__(self, kind: type, name: str, title: str, given_as: str, table: str | None) -> None:
        self.kind = kind
        self.name = name
        self.table = name if table is None else table
        self.title = title
        self.given_as = given_as
        self.rows = [row for row in vars(kind).values() if isinstance(row, Setting)]
        for row in self.rows:
            row.group, row.table = name, self.table


GROUPS: list[Group] = []

if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(setting,))
    def group(name: str, title: str, given_as: str = "", table: str | None = None) -> Callable[[_Class], _Class]:
        """Enter a class into the table of groups."""
        ...

else:

    def group(name: str, title: str, given_as: str = "", table: str | None = None) -> Any:
        """Enter a class into the table of groups."""

        def enter(kind: type) -> type:
            # A reload of the table enters its groups anew.
            GROUPS[:] = [one for one in GROUPS if one.name != name]
            GROUPS.append(Group(kind, name, title, given_as, table))
            return kind

        return enter


def rows_of(name: str = "") -> list[Setting]:
    """Return the rows of the group `name`; without one, all rows."""
    return [row for group in GROUPS for row in group.rows if name in ("", group.name)]
