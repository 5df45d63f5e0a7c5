"""A new setting is one row and its use: added to a copy of the package, it is everywhere; taken away, it is nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.scripts import finish, python_argv
from support.worked_example import apply, copy_of_the_package, diff_under

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"

ROW = """\
    patience: float | None = setting(
        default=None,
        kind=Seconds(none=True),
        flag="--patience",
        others="forbearance",
        meaning="how long nothing may be lost",
    )
"""

# Prints what the package in a folder has of a setting: its field, its option, its variable and its key, and the pages.
ASK = """
    import contextlib, io, json, sys
    sys.path.insert(0, sys.argv[1])
    import interpose
    from interpose import InterposeError, TheServer, _cli
    from interpose._cli.parsing import parse
    from interpose._settings_and_help import GROUPS, rows_of
    from support.reference_tables import pages, written

    group, name, flag, variable, text, slip = sys.argv[2:]
    kind = next(one.kind for one in GROUPS if one.name == group)
    words = ["9090", "example.org:80"]
    answers = {}

    def ask(what, call):
        try:
            answers[what] = call()
        except InterposeError as error:
            answers[what] = f"refused: {error}"

    def said(words, variables):
        options = parse(words, variables)
        holder = options if group == "command" else options.listeners[0]
        return getattr(getattr(holder, group), name, None)

    def help_text():
        with contextlib.redirect_stdout(io.StringIO()) as out:
            _cli.main(["--help"])
        return out.getvalue()

    ask("file", lambda: interpose.__file__)
    ask("keys", lambda: [row.key for row in rows_of()])
    ask("constructor", lambda: getattr(kind(**{name: 7}), name))
    ask("wrong value", lambda: getattr(kind(**{name: -7}), name))
    ask("default", lambda: getattr(kind(), name, "none there"))
    ask("docstring", lambda: kind.__doc__)
    ask("option", lambda: said([*words, flag, text], {}))
    ask("option's slip", lambda: said([*words, flag[:-1], text], {}))
    ask("variable", lambda: said(words, {variable: text}))
    ask("option before variable", lambda: said([*words, flag, text], {variable: "1"}))
    ask("variable's slip", lambda: said(words, {slip: text}))
    ask("server's slip", lambda: TheServer("", 0, "a:80", **{name: 7}))
    ask("help", help_text)
    ask("reference", lambda: written("".join(pages().values())))
    print(json.dumps(answers))
"""


def ask(folder: Path, group: str, name: str, flag: str, slip: str) -> dict[str, Any]:
    variable = "INTERPOSE_" + flag.removeprefix("--").replace("-", "_").upper()
    argv = python_argv(ASK, str(folder), group, name, flag, variable, "9s", slip)
    ended = finish(argv, folder)
    assert (ended.code, ended.err) == (0, ""), ended
    answers: dict[str, Any] = json.loads(ended.out)
    assert answers["file"].startswith(str(folder))
    return answers


def test_a_row_is_all_that_a_new_setting_needs(tmp_path: Path) -> None:
    table = copy_of_the_package(tmp_path) / "_server_settings_and_help.py"
    before = table.read_text(encoding="utf-8")
    begin, end = before.split("    unacknowledged: float | None", 1)
    table.write_text(f"{begin}{ROW}    unacknowledged: float | None{end}", encoding="utf-8")
    with_row = ask(tmp_path, "timeouts", "patience", "--patience", "INTERPOSE_PATIENC")
    assert "timeouts.patience" in with_row["keys"]
    assert (with_row["constructor"], with_row["default"]) == (7.0, None)
    assert with_row["wrong value"] == "refused: patience: it is negative; give a float such as 10.0"
    assert "* `patience`: how long nothing may be lost." in with_row["docstring"]
    assert (with_row["option"], with_row["variable"], with_row["option before variable"]) == (9.0, 9.0, 9.0)
    assert "did you mean --patience?" in with_row["option's slip"]
    assert "did you mean INTERPOSE_PATIENCE?" in with_row["variable's slip"]
    assert "did you mean timeouts=Timeouts(patience=...)?" in with_row["server's slip"]
    assert "  --patience SECONDS           how long nothing may be lost (default none)\n" in with_row["help"]
    assert "| `patience` | `None` | how long nothing may be lost |\n" in with_row["reference"]
    assert (
        "| `--patience SECONDS` | `INTERPOSE_PATIENCE` | none | how long nothing may be lost |" in with_row["reference"]
    )

    table.write_text(before, encoding="utf-8")
    without = ask(tmp_path, "timeouts", "patience", "--patience", "INTERPOSE_PATIENC")
    assert "timeouts.patience" not in without["keys"]
    assert without["constructor"].startswith("refused: patience: there is no such argument")
    assert without["option"].startswith("refused: --patience: there is no such option")
    assert without["variable"] is None
    assert all("patience" not in without[text] for text in ("docstring", "help", "reference"))


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    package = copy_of_the_package(tmp_path)
    apply(diff_under("Add a setting", CONTRIBUTING), package)
    return tmp_path


def test_the_worked_example_adds_its_setting(changed: Path) -> None:
    answers = ask(changed, "command", "first_line", "--first-line-timeout", "INTERPOSE_FIRST_LINE")
    assert (answers["option"], answers["variable"], answers["default"]) == (9.0, 9.0, 0.25)
    assert "did you mean INTERPOSE_FIRST_LINE_TIMEOUT?" in answers["variable's slip"]
    assert "how long the first line may wait for its reader (default 250ms)\n" in answers["help"]


def test_the_worked_example_s_setting_is_used(changed: Path) -> None:
    """The command waits for its first line as long as the option says."""
    text = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from interpose import _cli
        from interpose._cli import output

        waited = []

        def flush(self, limit):
            waited.append(limit)
            if len(waited) == 1:
                sys.exit(0)

        output.Outputs.flush = flush
        try:
            _cli.main(["0", "example.org:80", "--first-line-timeout", "7"])
        finally:
            assert waited[0] == 7.0, waited
    """
    ended = finish(python_argv(text, str(changed)), changed)
    assert (ended.code, ended.err) == (0, ""), ended


def test_the_worked_example_fits_on_one_screen() -> None:
    assert len(diff_under("Add a setting", CONTRIBUTING).splitlines()) <= 40
