"""The examples of the docstrings run, before an upstream that echoes in the place of the one that they name."""

from __future__ import annotations

import doctest
import inspect

import interpose
import pytest
from interpose._faulting import Faulting
from support.peers import Echo

KINDS = [getattr(interpose.faults, name) for name in interpose.faults.__all__]
SHOWN = [one for one in KINDS if inspect.isclass(one) and issubclass(one, interpose.faults.Fault)]
OF_SERVER = ("faults", "seed", "fault", "add_fault", "remove_fault")
DOCS: dict[str, str] = {
    "faults": interpose.faults.__doc__ or "",
    "faulty": interpose.faulty.__doc__ or "",
    "toxic": interpose.faults.toxic.__doc__ or "",
    **{one.__name__: one.__doc__ or "" for one in SHOWN},
    **{f"TheServer.{name}": vars(Faulting)[name].__doc__ or "" for name in OF_SERVER},
}


@pytest.mark.parametrize("text", DOCS.values(), ids=DOCS)
def test_examples_run(text: str) -> None:
    with Echo() as echo:
        text = text.replace("127.0.0.1:7070", f"{echo.address[0]}:{echo.address[1]}")
        test = doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)
        assert test.examples
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
