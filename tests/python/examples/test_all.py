"""What is true of every example."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from support.example_scripts import FOLDER, script
from support.scripts import finish

NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
README = (FOLDER / "README.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))


def test_there_are_fifteen_and_the_readme_has_them() -> None:
    assert len(NAMES) == 15
    assert sorted(re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|", README, re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_a_test(name: str) -> None:
    assert f'start("{name}"' in TESTS


@pytest.mark.parametrize("name", NAMES)
def test_wrong_use_says_how_to_run_it(name: str, tmp_path: Path) -> None:
    ended = finish([sys.executable, "-X", "dev", script(name)], tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert f"\n    python examples/{name}.py " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", NAMES)
def test_it_needs_nothing_but_python_and_interpose(name: str) -> None:
    tree = ast.parse(Path(script(name)).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= {"interpose", *sys.stdlib_module_names}
