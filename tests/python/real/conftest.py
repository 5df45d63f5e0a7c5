"""The command between a program and its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.proxies import ProxyCommand

Through = Callable[..., ProxyCommand]


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Through]:
    """`through(TARGET)` starts `interpose 127.0.0.1:0 TARGET`; at the end it must leave on SIGTERM with 0."""
    started: list[ProxyCommand] = []
    with ExitStack() as stack:

        def begin(target: str, *options: str, listen: str = "127.0.0.1:0") -> ProxyCommand:
            started.append(stack.enter_context(ProxyCommand(listen, target, tmp_path, *options)))
            return started[-1]

        yield begin
        for proxy in started:
            assert proxy.stop() == 0, proxy.child.output()
