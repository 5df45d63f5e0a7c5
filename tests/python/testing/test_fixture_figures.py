"""The command that measures the fixture fails where a promise does not hold."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _rows(ready: float, left: list[float]) -> list[dict[str, object]]:
    """Return the phases of a run with one test of a proxy that is made, and some with pools."""
    rows: list[dict[str, object]] = [
        {"test": "test_ready[0]", "phase": "setup", "seconds": ready / 2},
        {"test": "test_ready[0]", "phase": "call", "seconds": 1.0, "made": ready / 2},
        {"test": "test_ready[0]", "phase": "teardown", "seconds": 1.0, "left": 1.0},
    ]
    for number, one in enumerate(left):
        rows.append({"test": f"test_pool[{number}]", "phase": "teardown", "seconds": one, "left": one})
    return rows


@pytest.mark.parametrize(
    ("ready", "left", "missed"),
    [
        (0.005, [0.020] * 20, set[str]()),
        (0.006, [0.020] * 20, {"ready"}),
        (0.001, [0.001] * 17 + [0.021] * 3, {"leaving, pool"}),
        (0.001, [0.001] * 18 + [1.0] * 2, {"leaving, pool", "20 tests with open pools"}),
    ],
)
def test_what_is_missed(ready: float, left: list[float], missed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(ROOT), *sys.path])
    figures: Any = importlib.import_module("benches.fixture.figures")
    found = figures.figures_of([_rows(ready, left)])
    assert {figure.name for figure in found if not figure.is_met} == missed
    assert {figure.name for figure in found if figure.line().startswith("MISSED")} == missed
