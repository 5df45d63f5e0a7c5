"""How often a race is tried: a few times in the suite, many times for whoever looks for one."""

from __future__ import annotations

import os


def rounds(usual: int) -> int:
    """Return `usual`, times INTERPOSE_ROUNDS if that is set."""
    return usual * int(os.environ.get("INTERPOSE_ROUNDS", "1"))
