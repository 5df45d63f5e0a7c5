"""The documentation is true: its examples run, and it names what there is, all of it and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import interpose
import pytest
from interpose import CloseReason, ConnectionPhase

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("doc_example.py")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
REFERENCE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = 30


def lines_of(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").splitlines()


def examples() -> list[tuple[Path, int]]:
    return [(page, number) for page in PAGES for number, line in enumerate(lines_of(page), 1) if line == "```python"]


def name_of(example: tuple[Path, int]) -> str:
    return f"{example[0].name}:{example[1]}"


def help_text() -> str:
    command = [sys.executable, "-m", "interpose", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def commands() -> list[str]:
    return [line for page in PAGES for line in lines_of(page) if re.match(r"interpose \S+ \S+", line)]


@pytest.mark.parametrize("example", examples(), ids=name_of)
def test_example_runs(example: tuple[Path, int], tmp_path: Path) -> None:
    page, line = example
    command = [sys.executable, "-X", "dev", "-W", "error", str(RUNNER), str(page), str(line)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS, check=False)
    serves = "main_loop(" in page.read_text(encoding="utf-8").split("\n", line)[line].split("\n```", 1)[0]
    # An example may leave with its own words: sys.exit("...") is code 1 and the words on stderr.
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.returncode == (1 if "Ctrl-C" in ran.stderr else 0), ran.stderr
    assert ("visited" in ran.stdout) == serves, ran.stdout


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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


@pytest.mark.parametrize("name", interpose.__all__)
def test_reference_has_every_name(name: str) -> None:
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("name", ["TheServer", "Forward", "Connection", "Side"])
def test_reference_has_every_member(name: str) -> None:
    section = REFERENCE.split(f"\n## `{name}`\n", 1)[1].split("\n## ", 1)[0]
    kind: type = getattr(interpose, name)
    members = [member for member in vars(kind) if not member.startswith("_")]
    missing = [member for member in members if not re.search(rf"`(await server\.)?{member}\b", section)]
    assert not missing


@pytest.mark.parametrize("name", ["Timeouts", "Limits", "Stats", "Ledger"])
def test_reference_has_every_field(name: str) -> None:
    section = REFERENCE.split(f"\n## `{name}`\n", 1)[1].split("\n## ", 1)[0]
    missing = [field for field in getattr(interpose, name).__dataclass_fields__ if f"`{field}`" not in section]
    assert not missing


def test_reference_has_every_word_of_the_enums_and_no_other() -> None:
    section = REFERENCE.split("\n## Close reasons\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [reason.value for reason in CloseReason]
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    missing = [reason for reason in CloseReason if f"`{reason}`" not in architecture]
    assert not missing
    assert all(f"`{state}`" in REFERENCE for state in ConnectionPhase)


def test_reference_has_every_option_and_no_other() -> None:
    def options(text: str) -> set[str]:
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))

    section = REFERENCE.split("\n## The command\n", 1)[1].split("\n## ", 1)[0]
    assert options(section) == options(help_text())
    for command in commands():
        assert options(command) <= options(section), command


def test_documented_commands_are_there() -> None:
    assert len(commands()) > 5
