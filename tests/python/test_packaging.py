"""The metadata of the distribution, and the interpreters that its wheels are for."""

from __future__ import annotations

import importlib.util
import subprocess
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
SHIPPED = "interpose-0.1.0-cp311-abi3-manylinux_2_28_x86_64.whl"
WITHOUT_GIL = "interpose-0.1.0-cp314-cp314t-manylinux_2_28_x86_64.whl"


def smoke() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smoke", ROOT / "tests/smoke.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_leads_somewhere_and_names_every_python_it_is_for() -> None:
    said = metadata("interpose")
    assert all(entry.partition(", ")[2].startswith("https://") for entry in said.get_all("Project-URL") or ["none"])
    classifiers = said.get_all("Classifier") or []
    for minor in (11, 12, 13, 14):
        assert f"Programming Language :: Python :: 3.{minor}" in classifiers


def test_the_crate_has_a_name_of_its_own_and_the_library_the_packages() -> None:
    assert (CARGO["package"]["name"], CARGO["lib"]["name"]) == ("interpose-core", "interpose")
    for page in ("README.md", "CONTRIBUTING.md", ".github/workflows/wheels.yml"):
        assert "interpose-core" in (ROOT / page).read_text(encoding="utf-8"), page


@pytest.mark.parametrize(
    ("wheel", "version", "without_gil", "fits"),
    [
        (SHIPPED, (3, 11), False, True),
        (SHIPPED, (3, 14), False, True),
        (SHIPPED, (3, 10), False, False),
        (SHIPPED, (3, 14), True, False),
        (WITHOUT_GIL, (3, 14), True, True),
        (WITHOUT_GIL, (3, 13), True, False),
        (WITHOUT_GIL, (3, 14), False, False),
    ],
)
def test_a_wheel_is_tried_on_the_interpreters_it_is_for(
    wheel: str, version: tuple[int, int], without_gil: bool, fits: bool
) -> None:
    assert smoke().fits(Path(wheel), version, without_gil) is fits


@pytest.mark.parametrize(("size", "status", "said"), [(6_000_000, 0, "6000000 bytes"), (6_000_001, 1, "may have")])
def test_a_wheel_that_is_too_big_is_not_let_through(tmp_path: Path, size: int, status: int, said: str) -> None:
    wheel = tmp_path / SHIPPED
    with wheel.open("wb") as file:
        file.truncate(size)
    done = subprocess.run([ROOT / ".ci/wheel-size", wheel], capture_output=True, text=True)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done


def test_where_no_wheel_is_none_is_let_through(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / ".ci/wheel-size"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no wheel" in done.stderr
