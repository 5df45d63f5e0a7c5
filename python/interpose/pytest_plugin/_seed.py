"""The seed of a run, and those of its proxies, which follow from it."""

from __future__ import annotations

import hashlib


def seed_of(run: int, test: str, number: int) -> int:
    """Return the seed of a test's proxy: it depends on the run's, on the test and on the proxy's number alone."""
    digest = hashlib.blake2b(f"{run} {number} {test}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
