"""Ten thousand handshakes that clients begin and never finish, at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.certificates import self_signed
from support.measurements import Record
from support.stalled import BROKEN_OFF, SILENT, end, stall


@pytest.mark.parametrize(("said", "most"), [(SILENT, 24_576), (BROKEN_OFF, 49_152)])
def test_ten_thousand_that_stand_still(tmp_path: Path, said: bytes, most: int, record_property: Record) -> None:
    held = stall(tmp_path, self_signed(tmp_path), 10_000, said)
    record_property("bytes_each", held.bytes_each)
    assert held.bytes_each < most


def test_the_time_limit_ends_ten_thousand(tmp_path: Path) -> None:
    end(tmp_path, self_signed(tmp_path), 10_000, BROKEN_OFF[:100])
