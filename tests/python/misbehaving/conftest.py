"""The server behind the faults, and hooks that change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.peers import Echo


@pytest.fixture
def upstream() -> Iterator[Echo]:
    with Echo() as upstream:
        yield upstream


def nothing(side: object, data: bytes) -> None:
    """Show chunks to Python, and change nothing."""


async def nothing_later(side: object, data: bytes) -> None:
    """Show chunks to an event loop, and change nothing."""
