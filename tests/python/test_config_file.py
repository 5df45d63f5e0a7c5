"""A settings file: what it means, and the answer to everything that can be wrong in one."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from interpose import ConfigError, _cli
from interpose._cli.key_places import Keys, places_of
from interpose._cli.parsing import parse
from interpose._settings_and_help import Setting, rows_of
from test_settings import other_than_the_default, said_of

ADDRESSES = ", ".join(['"a:1"'] * 40)
LISTENER = '[[listener]]\nlisten = "9090"\nforward_to = "example.org:80"\n'

# The text, the line that is named, what the caret stands under (empty: no excerpt), and what is said of it.
WRONG: dict[str, tuple[str, int, str, str]] = {
    "empty": ("", 1, "", "it has no listener; write [[listener]]"),
    "no listener": ("timeouts.idle = 3\n", 1, "t", "it has no listener; write [[listener]]"),
    "one table": (
        '[listener]\nlisten = "9090"\n',
        1,
        "[listener]",
        "listener: it is no list of tables; write [[listener]]",
    ),
    "its plural": ("[[listeners]]\n", 1, "listeners", "write [[listener]]"),
    "listen at the top": (f'listen = "9090"\n{LISTENER}', 1, "listen", "listen is a listener's; write [[listener]]"),
    "no target": (
        '[[listener]]\nlisten = "9090"\n',
        1,
        "[[listener]]",
        "forward_to: it is missing; write forward_to =",
    ),
    "no address": (
        '[[listener]]\nforward_to = "a:80"\n',
        1,
        "[[listener]]",
        'listen: it is missing; write listen = "9090"',
    ),
    "target's other name": (f'{LISTENER}target = "b:1"\n', 4, "target", "did you mean forward_to?"),
    "host and port": (f"{LISTENER}port = 9090\n", 4, "port", "did you mean listen?"),
    "a key's slip": (f'timeouts.idel = "5m"\n{LISTENER}', 1, "timeouts.idel", "did you mean timeouts.idle?"),
    "a group's slip": (f"[timeout]\nidle = 5\n{LISTENER}", 1, "timeout", "did you mean timeouts?"),
    "a key outside its group": (f"{LISTENER}idle = 5\n", 4, "idle", "write timeouts.idle"),
    "a key in another group": (f"{LISTENER}limits.backlog = 5\n", 4, "limits.backlog", "write listening.backlog"),
    "an option's name": (f"{LISTENER}max-connections = 5\n", 4, "max-connections", "write limits.max_connections"),
    "another's name": (f"{LISTENER}timeouts.maxconn = 5\n", 4, "timeouts.maxconn", "write limits.max_connections"),
    "nothing known": (f"{LISTENER}limits.zzz = 5\n", 4, "limits.zzz", "there are max_connections"),
    "a group's other name": (f"[listen]\nbacklog = 5\n{LISTENER}", 1, "listen", "did you mean listening?"),
    "the command's, of a listener": (f"{LISTENER}command.drain = 5\n", 4, "command", "write [command] above"),
    "the file of a file": (f'command.config = "x"\n{LISTENER}', 1, "command.config", "there are on_reload, drain"),
    "a time": (f'{LISTENER}timeouts.idle = "soon"\n', 4, '"soon"', "'soon' is not a time; write seconds, or 200ms"),
    "a negative time": (f"{LISTENER}timeouts.idle = -1\n", 4, "-1", "it is negative"),
    "a time's type": (
        f"{LISTENER}timeouts.idle = [5]\n",
        4,
        "[5]",
        "timeouts.idle: it is list, not a number of seconds",
    ),
    "a date": (f"{LISTENER}timeouts.idle = 1979-05-27\n", 4, "1979-05-27", "it is date, not a number of seconds"),
    "a number": (f'{LISTENER}limits.max_connections = "10k"\n', 4, '"10k"', "write 10000"),
    "a number that is none": (f"{LISTENER}listening.backlog = true\n", 4, "true", "write backlog = 1024"),
    "a size": (f'{LISTENER}relay.max_message = "64K"\n', 4, '"64K"', "write 64kB or 64KiB"),
    "a switch": (f"{LISTENER}listening.public = 1\n", 4, "1", "write true or false"),
    "a choice": ('command.on_reload = "stay"\n' + LISTENER, 1, '"stay"', 'it is neither "keep" nor "drain"'),
    "a table as a value": (
        f"timeouts = 5\n{LISTENER}",
        1,
        "timeouts",
        "it is a table; write timeouts.half_close = ...",
    ),
    "an address": ('[[listener]]\nlisten = "9090"\nforward_to = "db"\n', 3, '"db"', "forward_to: address"),
    "its own address": ('[[listener]]\nlisten = "9090"\nforward_to = "a:0"\n', 3, '"a:0"', "forward_to: "),
    "an address's type": (
        '[[listener]]\nlisten = 9.5\nforward_to = "db:1"\n',
        2,
        "9.5",
        "listen: it is float, not a str",
    ),
    "a source": (f'{LISTENER}forward = {{ source = "eth0" }}\n', 4, '"eth0"', 'forward.source "eth0": it is not an IP'),
    "a long line": (
        f"{LISTENER}forward = {{ fallback = [{ADDRESSES}], retry = 0 }}\n",
        4,
        "0",
        "less than a millisecond",
    ),
    "twice the same": (LISTENER * 2, 5, '"9090"', "'9090' is that of line 2 already"),
    "no quotes": ("[[listener]]\nlisten = localhost:9090\n", 2, "l", "a text stands in quotes"),
    "no value": ("[[listener]]\nlisten\n", 2, "n", "write key = value"),
    "a key twice": (f'{LISTENER}listen = "9091"\n', 4, '"', "the key is given twice; give it once"),
    "a table twice": (f"{LISTENER}[listener]\n", 4, "]", "cannot declare listener twice"),
    "an open quote": ('[[listener]]\nlisten = "9090\n', 2, "0", "close the quote"),
    "not UTF-8": ("[[listener]]\nlisten = '\udcff'\n", 2, "", "it is not UTF-8"),
    "a control byte": ("[[listener]]\nlisten = '\x1b[31m'\n", 2, "\\x1b", "mend it as TOML has it"),
}


# Settings of a listener that do not do together, or cannot be used; what is said of the fourth line.
UNUSABLE: dict[str, str] = {
    "looking = { hexdump = true, json = true }": "looking.json: it is not allowed with looking.hexdump; give one",
    "looking.width = 9": "looking.width: it says how to show what passes; add looking.hexdump, looking.text or",
    'looking.direction = "to_client"': "looking.direction: it says how to show what passes; add looking.hexdump",
    'looking = { replace = "a=b", direction = "to_client" }': "or write looking.replace_direction",
    'looking.replace_direction = "to_client"': "looking.replace_direction: nothing is replaced; add looking.replace",
    'looking.replace_regex = "(=b"': "looking.replace_regex: pattern: at character 1: unclosed group",
    'looking = { text = true, grep = "(" }': "looking.grep: pattern: at character 1: unclosed group",
    'looking = { text = true, output = "/no/such/x" }': "looking.output /no/such/x: ",
    'capture.file = "/no/such/x.pcapng"': "capture.file /no/such/x.pcapng: ",
    'capture.snaplen = "1KiB"': "capture.snaplen: it is about a capture, and there is none; add capture.file FILE",
    'capture = { file = "/no/such/a", rotate_keep = 2 }': "add capture.rotate_size or capture.rotate_seconds",
    'scripts.script = "spi.py"': "scripts.script spi.py: there is no such file; give one, or a ready one by its name",
    'scripts.script = "/"': "scripts.script /: it cannot be read (is a directory); give the file itself",
    'faults.fault = "latncy 1s"': "faults.fault: there is no latncy; did you mean latency?",
}


def written(folder: Path, text: str) -> str:
    file = folder / "proxy.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return str(file)


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_answered_with_the_line_and_the_fix(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, under, said = WRONG[what]
    file = written(tmp_path, text)
    assert _cli.main(["--config", file]) == _cli.USAGE
    out, err = capsys.readouterr()
    first, *excerpt = err.splitlines()
    assert out == ""
    assert first.startswith(f"interpose: {file}:{line}: ")
    assert said in first
    assert err.replace("\n", "").isprintable()
    if under:
        shown, caret = excerpt
        begin = caret.index("^")
        assert shown[begin : begin + len(caret.strip())] == under, excerpt
    else:
        assert excerpt == []


@pytest.mark.parametrize("text", UNUSABLE)
@pytest.mark.parametrize("command", ["check", ""], ids=["check", "serve"])
def test_what_cannot_be_used_is_answered_with_the_line_and_the_fix(
    text: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, f'[[listener]]\nlisten = "0"\nforward_to = "127.0.0.1:9"\n{text}\n')
    assert _cli.main([*command.split(), "--config", file]) == _cli.USAGE
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"interpose: {file}:4: ")
    assert UNUSABLE[text] in err


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, LISTENER)
    for name, said in {
        "prxy.toml": "there is no such file; did you mean ",
        "none/at/all": "there is no such file; the folder ",
        ".": "it is a folder; give the name of a file in it",
        "": "--config: it is empty",
    }.items():
        assert _cli.main(["--config", str(tmp_path / name) if name else ""]) == _cli.USAGE
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    if hasattr(os, "mkfifo") and Path("/dev/zero").exists():
        assert _cli.main(["--config", "/dev/zero"]) == _cli.USAGE
        assert "longer than 1 MiB" in capsys.readouterr().err


def test_words_beside_a_file_and_a_file_of_the_environment(tmp_path: Path) -> None:
    file = written(tmp_path, LISTENER)
    with pytest.raises(ConfigError, match=r"9091: LISTEN and TARGET stand in the file, as \[\[listener\]\]"):
        parse(["9091", "a:80", "--config", file])
    variables = {"INTERPOSE_CONFIG": file}
    assert [one.address for one in parse([], variables).listeners] == ["9090"]
    assert [one.address for one in parse(["9091", "a:80"], variables).listeners] == ["9091"]
    assert parse([], variables).again is not None
    assert parse(["9091", "a:80"], variables).again is None


@pytest.mark.parametrize("row", [row for row in rows_of() if row.in_file], ids=lambda row: row.key)
def test_a_key_means_its_setting_and_comes_after_the_variable_and_the_option(row: Setting, tmp_path: Path) -> None:
    value, text = other_than_the_default(row)
    literal = str(value).lower() if isinstance(value, bool) else f"'{text}'"
    top = written(tmp_path, f"{row.key} = {literal}\n{LISTENER}")
    assert said_of(row, parse(["--config", top], {})) == value
    if row.group != "command":
        own = written(tmp_path, f"{LISTENER}{row.key} = {literal}\n")
        assert said_of(row, parse(["--config", own], {})) == value
    if not row.flag or row.kind.words:
        return
    default = row.kind.show(row.default) if isinstance(row.default, bool) else "3" if text != "3" else "4"
    if isinstance(row.default, bool) or type(row.kind).__name__ in ("Seconds", "Count"):
        options = parse(["--config", top], {row.variable: default})
        assert said_of(row, options) == row.kind.read("", default)
        assert options.listeners[0].values[row].place == row.variable


def test_the_nearer_table_goes_before_the_defaults_of_all(tmp_path: Path) -> None:
    text = f'timeouts.idle = "5m"\n{LISTENER}timeouts.idle = "none"\n{LISTENER.replace("9090", "9091")}'
    first, second = parse(["--config", written(tmp_path, text)], {}).listeners
    assert (first.timeouts.idle, second.timeouts.idle) == (None, 300.0)
    places = [
        given.place.rpartition(":")[2] for one in (first, second) for given in one.values.values() if given.rank < 2
    ]
    assert places == ["5", "1"]


def test_the_files_of_the_pages_are_right(tmp_path: Path) -> None:
    pages = [*(Path(__file__).resolve().parents[2] / "docs").rglob("*.md")]
    blocks = [found for page in pages for found in re.findall(r"(?ms)^```toml.*?\n(.*?)^```$", page.read_text("utf-8"))]
    right = [block for block in blocks if "[[listener]]" in block and "idel" not in block]
    files = [parse(["--config", written(tmp_path, block)], {}) for block in right]
    assert len(files) >= 2
    assert all(len(file.listeners) == 2 for file in files)


def leaves(value: Any, path: Keys = ()) -> list[tuple[Keys, Any]]:
    """Return all values that are no tables, by their keys."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return [leaf for key, inner in table.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [leaf for number, inner in enumerate(items) for leaf in leaves(inner, (*path, number))]
    return [(path, value)]


ODD = """
a.b . "c d" = 1 # b = 2
'x.y' = '''[z]
k = 3''' # no
e = \"\"\"a \\\"\"\" b\"\"\"\"
t = { p.q = [1, { r = "}" }, [2, 3]], s = 'a,b' }
n = [
  1, # ]
  "]",
]
[[l]]
u = 1
[l.m]
v = 2
[[l.w]]
x = 3
[[l.w]]
x = 1979-05-27 07:32:00
[[l]]
[l.m]
v = inf
[ "q r" . s ]
y = 0x1F
"""


@pytest.mark.parametrize("text", [ODD, ODD.replace("\n", "\r\n")], ids=["lf", "crlf"])
def test_the_places_of_keys_and_values_are_those_of_the_text(text: str) -> None:
    found = places_of(text)
    for path, value in leaves(tomllib.loads(text)):
        begin, end = found[path].value
        assert tomllib.loads(f"v = {text[begin:end]}") == {"v": value}, path
        key = text[slice(*found[path].key)]
        if isinstance(path[-1], str):
            assert path[-1] in key.replace("'", "").replace('"', ""), path
    assert places_of("") == places_of("# only a comment") == {}
