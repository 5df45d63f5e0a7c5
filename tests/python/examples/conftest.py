"""Starts the examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from support.example_scripts import Example


class Start(Protocol):
    """Starts an example that ends with the test."""

    def __call__(self, name: str, *arguments: str) -> Example: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("hexdump", TARGET)` runs the example on a free port."""
    started: list[Example] = []
    with ExitStack() as stack:

        def begin(name: str, *arguments: str) -> Example:
            example = Example(name, arguments, tmp_path)
            stack.enter_context(example.child)
            started.append(example)
            return example

        yield begin
        for example in started:
            if example.child.popen.poll() is None:
                example.end()
