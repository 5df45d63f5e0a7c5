"""Every public name says what it is, and its examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Callable

import interpose
import pytest

# Those of faults, replays and toxiproxy's API are tried where these are.
NO_CLASSES = ("MORE", "PASS", "faults", "faulty", "filters", "framing", "replay", "toxiproxy")
CLASSES = [
    *(getattr(interpose, name) for name in interpose.__all__ if name not in NO_CLASSES),
    interpose.framing.Framing,
    *(getattr(interpose.filters, name) for name in interpose.filters.__all__),
]
MODULES = ["_addresses", "_checks", "_exceptions", "_names", "framing"]


def run(found: object, name: str, names: dict[str, object] | None = None) -> int:
    examples = 0
    # False: the classes live in other modules than the one that shows them.
    for test in doctest.DocTestFinder().find(found, name, module=False, globs=names or {}):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        result = runner.run(test)
        assert result.failed == 0, f"an example in {test.name} fails"
        examples += result.attempted
    return examples


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_examples_of_the_class_run(kind: type) -> None:
    without = {interpose.Connection, interpose.Side}  # they come from a server; its own example shows them
    assert run(kind, kind.__name__) > 0 or kind in without


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_module_run(name: str) -> None:
    module = importlib.import_module(f"interpose.{name}")
    own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    functions = [value for value in own if inspect.isfunction(value)]
    assert sum(run(value, value.__name__, vars(module)) for value in functions) > 0


def test_examples_of_the_package_run() -> None:
    assert run(interpose.__doc__, "interpose") > 0
    assert run(interpose.framing.__doc__, "framing") > 0
    assert run(interpose.filters.__doc__, "filters") > 0


def test_every_public_member_has_a_docstring() -> None:
    def described(kind: type) -> dict[str, Callable[..., object] | property]:
        modules = (kind.__module__, "interpose._side", "interpose._reads")
        classes = [one for one in kind.__mro__ if one.__module__ in modules]
        members = {name: value for one in classes for name, value in vars(one).items() if not name.startswith("_")}
        return {name: it for name, it in members.items() if inspect.isfunction(it) or isinstance(it, property)}

    all_of_them = [(f"{kind.__name__}.{name}", it) for kind in CLASSES for name, it in described(kind).items()]
    assert len(all_of_them) > 30, "the walk finds the members"
    assert [name for name, it in all_of_them if not it.__doc__] == []
