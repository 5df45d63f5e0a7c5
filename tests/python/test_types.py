"""Type checkers are content with every Python example of the documentation, as printed, and know what hooks are.

They belong to the checks, so these tests run where `pip install --group lint` has put them.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import interpose
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
PACKAGE = Path(str(interpose.__file__)).parent
SECONDS = 100

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mypy", "pyright")),
    reason="type checkers are not installed",
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", *command]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=SECONDS, check=False)


def mypy(folder: Path) -> str:
    """Return what mypy says of the files in `folder`, where a link leads to the package: it may not be installed."""
    options = ("--strict", "--config-file=", "--no-error-summary", "--cache-dir=/dev/null", "--python-version=3.11")
    return run(folder, "mypy", *options, *(path.name for path in folder.glob("*.py"))).stdout


def pyright(folder: Path) -> list[str]:
    """Return what pyright says of the files in `folder`, a line each."""
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "reportMissingModuleSource": False}
    settings |= {"ignore": ["interpose"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    ran = run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable)
    found: list[dict[str, Any]] = json.loads(ran.stdout)["generalDiagnostics"]
    return [f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: {one['message']}" for one in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "interpose").symlink_to(PACKAGE)
    return tmp_path


def write_examples(folder: Path) -> int:
    """Write every Python block of the documentation to a file of its own; return how many there are."""
    written = 0
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if line == "```python":
                rest = lines[number:]
                name = f"{page.stem.lower().replace('-', '_')}_{number}.py"
                (folder / name).write_text("\n".join([*rest[: rest.index("```")], ""]), encoding="utf-8")
                written += 1
    return written


def test_every_example_passes_mypy_and_pyright_strict(folder: Path) -> None:
    assert write_examples(folder) > 20
    assert mypy(folder) == ""
    assert pyright(folder) == []


PLAIN = """
from interpose import TheServer


class Ours(TheServer):
    def on_recv(self, side, data):
        reveal_type(side)
        reveal_type(data)
        reveal_type(side.other.send(data))

    def on_close(self, conn):
        reveal_type(conn)


server = Ours("", 0)
reveal_type(server.address)
"""


def test_the_parameters_of_an_override_are_known_without_annotations(folder: Path) -> None:
    (folder / "plain.py").write_text(PLAIN)
    revealed = [line.partition(" is ")[2] for line in pyright(folder) if "Type of" in line]
    assert revealed == ['"Side"', '"bytes"', '"int | Any"', '"Connection"', '"tuple[str, int]"']


WRONG = """
from interpose import Side, TheServer


class Ours(TheServer):
    def on_recv(self, side: Side, data: bytes) -> int:
        return 1


server = Ours("", 0)


@TheServer("", 0).on_recv
def on_recv(side: Side, data: str) -> None: ...


server.on_eof = on_recv
TheServer("", 0, callback_errors="ignore")
TheServer("", 0, buffer="views")
server.on_receive = on_recv
TheServer("", 0, target="example.org:80")
"""


def test_what_is_wrong_is_found_by_both(folder: Path) -> None:
    (folder / "wrong.py").write_text(WRONG)
    lines = {6, 13, 17, 18, 19, 20, 21}
    assert {int(line.split(":")[1]) for line in mypy(folder).splitlines() if "error:" in line} == lines
    assert {int(line.split(":")[1]) for line in pyright(folder)} >= lines
