"""A file of settings: `[[listener]]` for each listener, and the settings by their groups and names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from .. import _native
from .._addresses import host_text, without_tls
from .._exceptions import InterposeError, printable
from .._kinds import Switch
from .._names import SERVER_ARGUMENTS, nearest
from .._service_names import numbered
from .._settings_and_help import GROUPS, Setting, rows_of
from .file_text import FileText
from .given import FILE, LISTENER, Given, Values
from .key_places import Keys
from .service_manager import listen_address

_EXAMPLE = 'write [[listener]], and below it listen = "9090" and forward_to = "example.org:80"'
_LISTEN_SLIPS = ("address", "bind", "host", "port", "from", "local", "listener", "listenaddress", "listenport")
# Other names for keys that are texts of their own; the names without underscores, in small letters.
_KEYS = {
    **{wrong: right for wrong, right in SERVER_ARGUMENTS.items() if right in ("forward_to", "mirror_to")},
    **dict.fromkeys(_LISTEN_SLIPS, "listen"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[listener]]`: its addresses, its settings, and where it stands."""

    listen: str
    forward_to: str
    values: Values
    path: Keys


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read: settings of the command and defaults of all listeners, and the listeners."""

    text: FileText
    values: Values
    entries: tuple[Entry, ...]


def read(name: str) -> ConfigFile:
    """Return what stands in the file, or raise FileError for the first thing in it that is wrong."""
    text = FileText(name)
    tables = text.data.pop("listener", None)
    values = _values_of(text, text.data, (), FILE)
    if tables is None:
        text.refuse((), f"it has no listener; {_EXAMPLE}")
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in cast("list[object]", tables)):
        text.refuse(("listener",), f"listener: it is no list of tables; {_EXAMPLE}", of_value=True)
    if not tables:
        text.refuse(("listener",), f"listener: the list is empty; {_EXAMPLE}", of_value=True)
    listeners = cast("list[dict[str, Any]]", tables)
    entries = tuple(_entry(text, table, ("listener", number)) for number, table in enumerate(listeners))
    _check_twins(text, entries)
    return ConfigFile(text, values, entries)


def _entry(text: FileText, table: dict[str, Any], path: Keys) -> Entry:
    addresses = {name: _address(text, name, table.pop(name, None), path) for name in ("listen", "forward_to")}
    # Slips of these two names first: they say more than that one is missing.
    values = _values_of(text, table, path, LISTENER)
    for name, address in addresses.items():
        if address is None:
            sample = "9090" if name == "listen" else "example.org:80"
            text.refuse(path, f'{name}: it is missing; write {name} = "{sample}" below this line', of_value=True)
    return Entry(addresses["listen"] or "", addresses["forward_to"] or "", values, path)


def _address(text: FileText, name: str, value: object, path: Keys) -> str | None:
    if value is None:
        return None
    if name == "listen" and isinstance(value, int) and not isinstance(value, bool):
        # Written as TOML's own number.
        value = str(value)
    try:
        address = host_text(name, value)
        if name == "listen":
            address = listen_address(address)
        _native.parse_address(numbered(without_tls(address)[0] if name == "forward_to" else address))
    except InterposeError as error:
        words = str(error)
        text.refuse((*path, name), words if words.startswith(name) else f"{name}: {words}", of_value=True)
    return address


def _check_twins(text: FileText, entries: Iterable[Entry]) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        port = entry.listen.rpartition(":")[2]
        is_shared = any(row.name == "reuse_port" and given.value for row, given in entry.values.items())
        if entry.listen in first and port != "0" and not is_shared:
            line = text.place((*first[entry.listen].path, "listen")).rpartition(":")[2]
            why = f"listen: {entry.listen!r} is that of line {line} already; give each listener its own address"
            text.refuse((*entry.path, "listen"), why, of_value=True)
        first.setdefault(entry.listen, entry)


def _values_of(text: FileText, table: Mapping[str, Any], path: Keys, rank: int) -> Values:
    """Return the values of a table that has groups in it, and the settings that stand in none."""
    groups = {group.table: group for group in GROUPS if group.table}
    alone = {row.key: row for row in rows_of() if not row.table}
    values: Values = {}
    for key, value in table.items():
        if key in alone:
            values[alone[key]] = _given(text, alone[key], value, (*path, key), rank)
        elif key in groups and not (key == "command" and rank == LISTENER):
            if not isinstance(value, dict):
                first = next(row for row in groups[key].rows if row.in_file)
                text.refuse((*path, key), f"{key}: it is a table; write {key}.{first.name} = ...")
            rows = {row.name: row for row in groups[key].rows if row.in_file}
            for name, inner in cast("dict[str, Any]", value).items():
                if name not in rows:
                    _unknown(text, (*path, key, name), rank)
                values[rows[name]] = _given(text, rows[name], inner, (*path, key, name), rank)
        else:
            _unknown(text, (*path, key), rank, is_table=isinstance(value, dict))
    return values


def _given(text: FileText, row: Setting, value: object, path: Keys, rank: int) -> Given:
    try:
        if isinstance(value, str):
            # A list of one, without its brackets.
            read = row.kind.check(row.key, [value]) if row.kind.repeats else row.kind.read(row.key, value)
        elif isinstance(row.kind, Switch) and not isinstance(value, bool):
            text.refuse(path, f"{row.key}: {value!r} is neither yes nor no; write true or false", of_value=True)
        elif isinstance(value, bool) and not isinstance(row.kind, Switch):
            text.refuse(path, f"{row.key}: true and false are no values of it; {_sample(row)}", of_value=True)
        else:
            read = row.kind.check(row.key, value)
    except InterposeError as error:
        if hasattr(error, "excerpt"):
            raise
        text.refuse(path, str(error), of_value=True)
    return Given(read, row.key, text.place(path), rank)


def _sample(row: Setting) -> str:
    sample = row.kind.sample if row.kind.sample.isdecimal() else f'"{row.kind.sample}"'
    return f"write {row.name} = {sample}"


def _unknown(text: FileText, path: Keys, rank: int, *, is_table: bool = False) -> NoReturn:
    names = [str(part) for part in path if isinstance(part, str)]
    keys = names[1:] if rank == LISTENER else names
    advice = _of_table(keys[0], rank) if is_table else _of_key(keys, rank)
    text.refuse(path, f"{printable('.'.join(keys))}: there is no such key; {advice}")


def _tables(rank: int) -> list[str]:
    return [group.table for group in GROUPS if group.table and not (rank == LISTENER and group.table == "command")]


def _of_table(name: str, rank: int) -> str:
    """Say which table is meant."""
    if rank == LISTENER and name == "command":
        return "it is of the whole command; write [command] above the first [[listener]]"
    by_group = {group.name: group.table for group in GROUPS if group.table}
    meant = nearest(name, [*_tables(rank), "listener"], by_group)
    return f"did you mean {meant}?" if meant else f"there are {', '.join(_tables(rank))}"


def _of_key(keys: list[str], rank: int) -> str:
    """Say where the key belongs, or which is nearest."""
    name = keys[-1].replace("-", "_")
    if rank == FILE and len(keys) == 1 and name in ("listen", "forward_to"):
        return f"{name} is a listener's; {_EXAMPLE}"
    if rank == FILE and len(keys) == 1 and name in ("listeners", "servers", "server", "proxy", "proxies"):
        return _EXAMPLE
    rows = [row for row in rows_of() if row.in_file and not (rank == LISTENER and row.group == "command")]
    # In its own table first.
    rows.sort(key=lambda row: row.table != keys[0])
    exact = [row for row in rows if name in (row.name, row.long.replace("-", "_"), *row.others.split())]
    if exact:
        return f"write {exact[0].key}"
    if len(keys) == 1:
        own = [*_tables(rank), *(("listen", "forward_to") if rank == LISTENER else ("listener",))]
        if meant := nearest(name, own, _KEYS if rank == LISTENER else {}):
            return f"did you mean {meant}?"
    by_name = {row.name: row for row in reversed(rows)}
    if meant := nearest(name, by_name, {}):
        return f"did you mean {by_name[meant].key}?"
    if len(keys) > 1:
        return f"there are {', '.join(row.name for row in rows if row.table == keys[0])}"
    return f"there are {', '.join(_tables(rank))}, each with its settings"
