"""A few lines of the fault table, which `tests/run faults` plays whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.calls import ROWS, runs_here
from faults.scenes import Scene
from faults.supervisor import is_allowed

SOME = ["accept4 EPERM", "epoll_ctl, to watch a peer ENOMEM", "getsockname ENOBUFS", "connect, to disconnect EPERM"]


@pytest.mark.skipif(not runs_here(), reason="the calls have other numbers here")
@pytest.mark.parametrize("fault", SOME)
def test_a_call_that_fails_ends_as_the_table_says(tmp_path: Path, fault: str) -> None:
    """Tried again, gone around, or the failure of one connection; nobody else notices."""
    if not is_allowed(tmp_path):
        pytest.skip("seccomp does not notify here")
    label, error = fault.rsplit(" ", 1)
    scene = Scene(next(row for row in ROWS if row.label == label), tmp_path / "scene")
    try:
        assert scene.play(error).problems == []
    finally:
        scene.close()
