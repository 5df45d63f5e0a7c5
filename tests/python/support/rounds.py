"""The number of rounds of a test that tries a race: few in the suite, INTERPOSE_ROUNDS times as many if that is set."""

from __future__ import annotations

import os


def rounds(usual: int) -> int:
    """Return `usual`, times INTERPOSE_ROUNDS if that is set."""
    return usual * int(os.environ.get("INTERPOSE_ROUNDS", "1"))
