"""The examples of the docstrings run, before an upstream that echoes in the place of the one that they name."""

from __future__ import annotations

import doctest
import inspect

import interpose.testing
import pytest
from support.peers import Echo

KINDS: list[type] = [getattr(interpose.testing, name) for name in interpose.testing.__all__]


@pytest.mark.parametrize("kind", [interpose.testing, *KINDS], ids=lambda kind: kind.__name__)
def test_examples_run(kind: object, echo: Echo) -> None:
    assert isinstance(kind, type) or inspect.ismodule(kind)
    text = (kind.__doc__ or "").replace("127.0.0.1:7070", f"{echo.address[0]}:{echo.address[1]}")
    test = doctest.DocTestParser().get_doctest(text, dict(vars(interpose.testing)), kind.__name__, None, 0)
    assert test.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


def test_every_public_member_has_a_docstring() -> None:
    members = [
        (f"{kind.__name__}.{name}", value)
        for kind in KINDS
        for name, value in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    ]
    assert len(members) > 30
    assert [name for name, value in members if not value.__doc__] == []
