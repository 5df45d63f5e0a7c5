"""The examples of the docstrings run, before an upstream that echoes in the place of the one that they name."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import interpose.replay
import pytest
from interpose.testing import Proxy
from support.peers import Echo

NAMES: list[Any] = [interpose.replay, *(getattr(interpose.replay, name) for name in interpose.replay.__all__)]
CLASSES: list[type] = [value for value in NAMES if inspect.isclass(value)]
WITHOUT = (interpose.replay.Event,)


@pytest.mark.parametrize("value", [*NAMES, Proxy.record], ids=lambda value: value.__name__)
def test_examples_run(value: Any, echo: Echo) -> None:
    text = (value.__doc__ or "").replace("127.0.0.1:7070", f"{echo.address[0]}:{echo.address[1]}")
    test = doctest.DocTestParser().get_doctest(text, {}, value.__name__, None, 0)
    assert test.examples or value in WITHOUT
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


def test_every_public_member_has_a_docstring() -> None:
    members = [
        (f"{kind.__name__}.{name}", value)
        for kind in CLASSES
        for name, value in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    ]
    assert len(members) > 15
    assert [name for name, value in members if not value.__doc__] == []
