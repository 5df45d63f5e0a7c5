"""One table of settings: a row is so in the constructor, the command, the environment, the pages and the core."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
from typing import Any, cast

import interpose
import pytest
from interpose import (
    ArgumentTypeError,
    Callbacks,
    ConfigError,
    Forward,
    InterposeError,
    Limits,
    Listen,
    Relay,
    TheServer,
    Timeouts,
    _native,
)
from interpose._addresses import address_text
from interpose._cli.completions import SHELLS, text_of
from interpose._cli.help_layout import help_text
from interpose._cli.parsing import parse, parser
from interpose._groups import native_config
from interpose._old_keywords import OldKeywords, group_of
from interpose._settings_and_help import GROUPS, Setting, rows_of
from support.reference_tables import REFERENCE, marked, pages, written

TARGET = ("example.org", 80)
ROWS = {row.key: row for row in rows_of()}
# The file itself is read at once: test_config_file has it.
OPTIONS = {key: row for key, row in ROWS.items() if row.flag and row.in_file}
NATIVE = {key: row for key, row in ROWS.items() if row.native}
PUBLIC = (Timeouts, Limits, Relay, Listen, Callbacks)

# For each kind a value that is no default, as Python and as a text have it.
OTHERS: dict[str, tuple[object, str]] = {
    "Seconds": (7.5, "7500ms"),
    "Count": (77, "77"),
    "Size": (77, "77B"),
    "FileName": ("x.toml", "x.toml"),
    "LocalAddress": ("192.0.2.9", "192.0.2.9"),
    "ServerName": ("a.example", "a.example"),
    "Target": ("192.0.2.9:9", "192.0.2.9:9"),
    "Targets": (("192.0.2.9:9",), "192.0.2.9:9"),
    "Texts": (("a=1",), "a=1"),
    "Replacements": (("a=1",), "a=1"),
}
# Another one, where a number is none.
ANOTHER = {
    "LocalAddress": "192.0.2.3",
    "Target": "192.0.2.3:3",
    "Targets": "192.0.2.3:3",
    "Texts": "a=2",
    "Replacements": "a=2",
}


def other_than_the_default(row: Setting) -> tuple[Any, str]:
    if isinstance(row.default, bool):
        return not row.default, "no" if row.default else "yes"
    if row.kind.words:
        word = next(word for word in row.kind.words if word != row.default)
        return word, word
    return OTHERS[type(row.kind).__name__]


def group_with(row: Setting, value: object) -> object:
    kind = next(group.kind for group in GROUPS if group.name == row.group)
    return kind(**{row.name: value})


@pytest.mark.parametrize("key", NATIVE)
def test_a_native_setting_reaches_the_core(key: str) -> None:
    row = NATIVE[key]
    value, _ = other_than_the_default(row)
    assert native_config(group_with(row, value)).values() == {**_native.Config().values(), row.name: value}


def test_a_subclass_of_a_group_reaches_the_core_as_the_group_does() -> None:
    class Patient(Timeouts):
        pass

    assert native_config(Patient(idle=7)).values() == native_config(Timeouts(idle=7)).values()
    assert native_config(Patient(idle=7)).values()["idle"] == 7


def test_the_core_has_the_settings_that_are_native_and_their_defaults() -> None:
    defaults = {row.name: row.default for row in NATIVE.values()}
    # None is the class attribute.
    defaults["buffer_size"] = TheServer.buffer_size
    assert _native.Config().values() == defaults


def test_no_two_settings_have_a_name_in_common() -> None:
    rows = rows_of()
    for names in (
        [row.key for row in rows],
        [row.long for row in rows if row.flag],
        [row.variable for row in rows if row.flag],
        [row.name for row in rows if row.native],
    ):
        assert sorted(set(names)) == sorted(names)
        assert all(names)


def test_a_setting_that_the_core_does_not_know_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="idel: the native side has no such setting; there are half_close"):
        _native.Config(idel=3)


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_means_its_setting(key: str) -> None:
    row = OPTIONS[key]
    value, text = other_than_the_default(row)
    words = [row.flag] if isinstance(value, bool) else [row.flag, text]
    assert said_of(row, parse(["9090", "example.org:80", *words], {})) == value


@pytest.mark.parametrize("key", OPTIONS)
def test_a_variable_means_its_setting(key: str) -> None:
    row = OPTIONS[key]
    value, text = other_than_the_default(row)
    assert said_of(row, parse(["9090", "example.org:80"], {row.variable: text})) == value
    assert said_of(row, parse(["9090", "example.org:80"], {row.variable: ""})) == row.default


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_goes_before_its_variable(key: str) -> None:
    row = OPTIONS[key]
    _, text = other_than_the_default(row)
    opposite = f"--{row.long}" if row.flag.startswith("--no-") else f"--no-{row.long}"
    other = row.shown_default if row.kind.words else ANOTHER.get(type(row.kind).__name__, "3")
    words = [opposite] if isinstance(row.default, bool) else [row.flag, other]
    said = said_of(row, parse(["9090", "example.org:80", *words], {row.variable: text}))
    assert said == (row.default if isinstance(row.default, bool) else row.kind.read("", words[1]))


def said_of(row: Setting, options: Any) -> object:
    (listener,) = options.listeners
    group = options.command if row.group == "command" else getattr(listener, row.group)
    said = getattr(group, row.name)
    if type(row.kind).__name__ == "Targets":
        return tuple(address_text(target.address) for target in said)
    return said


@pytest.mark.parametrize("key", OPTIONS)
def test_help_has_the_option_with_its_default(key: str) -> None:
    row = OPTIONS[key]
    line = next(line for line in help_text().splitlines() if re.match(rf"  (-\w, )?{row.flag} ", line))
    assert row.help in line
    assert isinstance(row.default, bool) or row.shown_default in line
    assert parser().parse_args(["9090", "example.org:80"]).__dict__[key] is None


def test_a_setting_of_the_command_is_in_everything_that_comes_from_the_table() -> None:
    page = (REFERENCE / "command.md").read_text(encoding="utf-8")
    completions = {shell: text_of(shell) for shell in SHELLS}
    for row in rows_of():
        if row.in_file:
            assert f"| `{row.key}` |" in page, row.key
        if row.flag:
            assert re.search(rf"^  (-\w, )?{row.flag} ", help_text(), re.MULTILINE), row.key
            assert f"| `{row.variable}` |" in page, row.key
            assert row.flag in parser().format_help(), row.key
            assert all(row.flag in text for shell, text in completions.items() if shell != "fish"), row.key
            assert f" -l {row.flag.removeprefix('--')} " in completions["fish"], row.key


def test_the_reference_has_the_table_as_it_is() -> None:
    found = pages()
    assert [name for page in found.values() for name in marked(page)] == [
        "commands",
        "options",
        "keys",
        *(group.__name__.lower() for group in PUBLIC),
    ]
    for path, page in found.items():
        assert written(page) == page, f"{path}: run PYTHONPATH=tests/python python -m support.reference_tables"


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_a_group_is_a_frozen_dataclass_of_its_rows(kind: Any) -> None:
    rows = rows_of(kind.__name__.lower())
    assert [(field.name, field.default) for field in dataclasses.fields(kind)] == [(r.name, r.default) for r in rows]
    assert all(f"* `{row.name}`: " in kind.__doc__ for row in rows)
    assert list(inspect.signature(kind).parameters) == [row.name for row in rows]
    made = kind()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made == dataclasses.replace(made)
    assert getattr(interpose, kind.__name__) is kind
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, rows[0].name, rows[0].default)


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if row.group not in ("forward", "command")])
def test_a_wrong_value_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(InterposeError, match=rf"^{ROWS[key].name}: it is .+; "):
        group_with(ROWS[key], object())


def test_what_else_has_defaults_of_the_table_has_the_same() -> None:
    parameters = inspect.signature(Forward).parameters
    assert {row.name: row.default for row in rows_of("forward")} == {
        name: parameters[name].default for name in ("connect_timeout", "source", "fallback", "retry")
    }


OLD: dict[str, tuple[object, str]] = {
    "buffer": ("view", "relay"),
    "buffer_size": (9, "relay"),
    "splice": (False, "relay"),
    "coalesce": (False, "relay"),
    "backlog": (9, "listen"),
    "reuse_port": (True, "listen"),
    "public": (True, "listen"),
    "callback_threads": (2, "callbacks"),
    "callback_errors": ("pass", "callbacks"),
}


@pytest.mark.parametrize("keyword", OLD)
def test_an_old_keyword_counts_and_is_not_given_beside_its_group(keyword: str) -> None:
    value, name = OLD[keyword]
    row = next(row for row in rows_of(name) if row.name == keyword.removeprefix("callback_"))
    kind = next(group.kind for group in GROUPS if group.name == name)
    old, default = cast("OldKeywords", {keyword: value}), cast("OldKeywords", {keyword: row.default})
    assert group_of(name, kind(), kind, old) == kind(**{row.name: value})
    TheServer("", 0, TARGET, **old).stop()
    given: Any = {name: kind(**{row.name: value})}
    with pytest.raises(ConfigError, match=rf"{keyword}: it is given twice; leave it to \w+\({row.name}=...\)"):
        TheServer("", 0, TARGET, **given, **default)
    with pytest.raises(InterposeError, match=f"^{keyword}: it is "):
        TheServer("", 0, TARGET, **cast("OldKeywords", {keyword: object()}))


def test_the_class_attribute_is_the_default_of_the_chunk_s_size() -> None:
    class Small(TheServer):
        buffer_size = 10

    for given, size in (({}, 10), ({"relay": Relay(splice=False)}, 10), ({"relay": Relay(buffer_size=20)}, 20)):
        with Small("", 0, TARGET, **given) as server:  # type: ignore[arg-type]
            assert server.buffer_size == size
