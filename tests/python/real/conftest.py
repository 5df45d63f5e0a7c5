"""The command between a program and its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from proxies import Command

Through = Callable[..., Command]


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Through]:
    """`through(TARGET)` starts `interpose 127.0.0.1:0 TARGET`; at the end it must leave on SIGTERM with 0."""
    started: list[Command] = []
    with ExitStack() as stack:

        def begin(target: str, listen: str = "127.0.0.1:0") -> Command:
            started.append(stack.enter_context(Command(listen, target, tmp_path)))
            return started[-1]

        yield begin
        for proxy in started:
            assert proxy.stop() == 0, proxy.child.output()
