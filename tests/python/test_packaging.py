"""The metadata of the distribution, and the interpreters that its wheels are for."""

from __future__ import annotations

import importlib.util
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
