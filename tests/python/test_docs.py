"""The documentation is true: it names what there is, all of it and nothing else. Its blocks run in pages/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import interpose
import pytest
from interpose import CloseReason, ConnectionPhase
from interpose._cli.commands import COMMANDS
from support.doc_blocks import blocks_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
REFERENCE = (ROOT / "docs/reference/index.md").read_text(encoding="utf-8")
COMMAND = (ROOT / "docs/reference/command.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = 30


def lines_of(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").splitlines()


def called(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def help_texts() -> str:
    """The help of the command, and of each subcommand."""
    texts: list[str] = []
    for name in ([], *([row.name] for row in COMMANDS if row.name)):
        argv = [sys.executable, "-m", "interpose", *name, "--help"]
        texts.append(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS).stdout)
    return "".join(texts)


def commands() -> list[str]:
    lines = [line.removeprefix("$ ") for page in PAGES for line in lines_of(page)]
    return [line for line in lines if re.match(r"interpose \S+ \S+", line)]


def test_a_page_forwards_to_no_server_that_it_does_not_name() -> None:
    for page in PAGES:
        run = [block.text for block in blocks_of(page) if block.language in ("python", "console")]
        assert "example.com" not in "".join(run), page


def test_what_is_typed_is_in_blocks_that_run() -> None:
    """A Tab cannot be typed there."""
    texts = [block for page in PAGES for block in blocks_of(page) if block.language == "text"]
    typed = [block for block in texts if re.search(r"^\$ (?!.*<Tab>)", block.text, re.MULTILINE)]
    assert typed == []


def test_a_recipe_is_short() -> None:
    page = ROOT / "docs/how-to/test-recipes.md"
    lines = {block.title: len(block.text.splitlines()) for block in blocks_of(page) if block.title.startswith("test_")}
    assert len(lines) >= 20
    assert {title: number for title, number in lines.items() if number > 15} == {}


def test_the_tutorials_script_is_eight_lines() -> None:
    first = README.split("```python\n", 1)[1].split("```", 1)[0]
    assert "def on_recv(" in first
    assert len([line for line in first.splitlines() if line]) <= 8


def test_the_readme_has_the_commands_that_ci_runs() -> None:
    assert "\ntests/run\n" in README
    assert '" tests/run\n' in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert ".venv/bin/pip install . && .venv/bin/interpose demo" in README
    for script in ("tests/run", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("page", PAGES, ids=called)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        other = (page.parent / path).resolve() if path else page
        assert other.is_file(), target
        if anchor:
            headings = [line.lstrip("#").strip() for line in lines_of(other) if line.startswith("#")]
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_reference_has_every_name() -> None:
    assert [name for name in interpose.__all__ if f"`{name}`" not in REFERENCE] == []


@pytest.mark.parametrize("name", ["TheServer", "Forward", "Connection", "Side"])
def test_reference_has_every_member(name: str) -> None:
    section = REFERENCE.split(f"\n## `{name}`\n", 1)[1].split("\n## ", 1)[0]
    kind: type = getattr(interpose, name)
    modules = (kind.__module__, "interpose._side", "interpose._reads")
    classes = [one for one in kind.__mro__ if one.__module__ in modules]
    members = {member for one in classes for member in vars(one) if not member.startswith("_")}
    missing = [member for member in members if not re.search(rf"`(await server\.)?{member}\b", section)]
    assert not missing


@pytest.mark.parametrize("name", ["Timeouts", "Limits", "Relay", "Listen", "Callbacks", "Stats", "Ledger"])
def test_reference_has_every_field(name: str) -> None:
    section = REFERENCE.split(f"\n## `{name}`\n", 1)[1].split("\n## ", 1)[0]
    missing = [field for field in getattr(interpose, name).__dataclass_fields__ if f"`{field}`" not in section]
    assert not missing


def test_reference_has_every_word_of_the_enums_and_no_other() -> None:
    section = REFERENCE.split("\n## Close reasons\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [reason.value for reason in CloseReason]
    architecture = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    missing = [reason for reason in CloseReason if f"`{reason}`" not in architecture]
    assert not missing
    assert all(f"`{state}`" in REFERENCE for state in ConnectionPhase)


def test_the_plan_names_every_file_of_the_core() -> None:
    architecture = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    plan = architecture.split("\n## Layers\n", 1)[1].split("\n## ", 1)[0]
    layers = dict(re.findall(r"^\* \*\*(\w+)\*\*(.*?)(?=^\* \*\*|^$)", plan, re.MULTILINE | re.DOTALL))
    files = [path.relative_to(ROOT / "src") for path in (ROOT / "src").glob("*/**/*.rs")]
    assert len(files) > 100
    missing = [
        str(path)
        for path in files
        if (path.stem != "mod" and not re.search(rf"[`/]{path.stem}`", layers[path.parts[0]]))
        or (len(path.parts) > 2 and path.stem == "mod" and f"`{path.parts[-2]}`" not in layers[path.parts[0]])
    ]
    assert not missing


def test_reference_has_every_option_and_no_other() -> None:
    def options(text: str) -> set[str]:
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))

    assert options(COMMAND) == options(help_texts())
    for command in commands():
        assert options(command) <= options(COMMAND), command


def test_documented_commands_are_there() -> None:
    assert len(commands()) > 5


@pytest.mark.parametrize("page", ["CHANGELOG.md", "docs/explanation/architecture.md"])
def test_no_line_is_wider_than_the_code_s(page: str) -> None:
    assert [number for number, line in enumerate(lines_of(ROOT / page), 1) if len(line) > 120] == []


def test_the_changes_say_everything_once() -> None:
    """No two of them begin alike, as after a merge that has kept both."""
    begins = [line[:28] for line in lines_of(ROOT / "CHANGELOG.md") if line.startswith("- ")]
    assert len(begins) > 10
    assert sorted(set(begins)) == sorted(begins)


def test_another_drain_is_an_argument_of_the_server() -> None:
    page = (ROOT / "docs/how-to/stop-and-drain.md").read_text(encoding="utf-8")
    assert "TheServer(..., drain=30)" in page
    assert "in a signal handler of" not in page
