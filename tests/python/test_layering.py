"""The plan of docs/explanation/architecture.md, of the Python files: layers, no circles, who knows the tutorial's form.

The Rust files have their own in tests/core/layering.rs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from support.imports import Arrow, Kind, arrows_of, circles

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python/interpose"

# From the lowest layer to the highest; a folder is one row. A file may use its own layer and lower ones.
LAYERS: dict[str, tuple[str, ...]] = {
    "words": (
        "_exceptions",
        "_lost_output",
        "_stats",
        "_preread",
        "_client_hello",
        "_native_shapes",
        "_shadowable",
        "_coroutine_functions",
        "_checks",
        "_addresses",
        "_kinds",
        "_replacements",
        "_framing_name",
        "_sizes",
        "_service_names",
        "_rows",
        "_server_settings_and_help",
        "_tls_settings_and_help",
        "_sni_settings_and_help",
        "_settings_and_help",
        "_names",
        "_groups",
        "_old_keywords",
        "_tls_exceptions",
    ),
    "process": ("_threads", "_waiting", "_logging", "_signals"),
    "connections": (
        "_reads",
        "_side",
        "framing",
        "_framing_pair",
        "_outputs",
        "_settling",
        "_filter",
        "_rewriting",
        "_recording",
        "filters",
        "_filter_list",
        "_fault_names",
        "_expressions",
        "_fault",
        "_actions",
        "_scripted",
        "_message_faults",
        "_connect_faults",
        "_toxics",
        "faults",
        "_faulting",
        "_tls",
        "_intercept",
        "_start_tls",
        "_connection",
        "_script_side",
        "_outgoing",
        "_own_socket",
        "_forward",
        "_by_name",
    ),
    "callbacks": (
        "_hooks",
        "_callback_log",
        "_bridge",
        "_async_calls",
        "_crew",
        "_lanes",
        "_callbacks",
        "_hook_decorators",
        "_hook_answers",
        "_hook_types",
        "_hook_methods",
    ),
    "tutorial": ("_containers", "_script", "_tutorial_hooks", "_tutorial"),
    "server": ("_ending", "_live_settings", "_listening", "_server", "_faulty", "replay", "toxiproxy", "__init__"),
    "testing": ("testing", "pytest_plugin"),
    "scripts": ("scripts",),
    "command": ("_cli", "__main__"),
}

# Files that know the form of 2012. Only the server, which hands it to its callbacks, may use them from outside.
TUTORIAL = LAYERS["tutorial"]
KNOWS_THE_TUTORIAL = ("_server",)


def row_of(name: str) -> str:
    """Return the file or folder that stands in the table for a file."""
    return name.split(".")[0]


def layer_of(name: str) -> int | None:
    layers = [number for number, rows in enumerate(LAYERS.values()) if row_of(name) in rows]
    return layers[0] if layers else None


def upwards(arrows: Iterable[Arrow]) -> list[str]:
    """Return a line for each arrow that leads to a higher layer, and for each file that is in none."""
    found: list[str] = []
    for arrow in arrows:
        own, other = layer_of(arrow.source), layer_of(arrow.target)
        if own is None or other is None:
            found.append(f"{arrow.source if own is None else arrow.target} is in no layer")
        elif other > own:
            found.append(f"{arrow.source}:{arrow.line} may not use {arrow.target}, which is above it")
    return sorted(set(found))


def of_the_tutorial(arrows: Iterable[Arrow]) -> list[str]:
    """Return a line for each arrow by which a file that may not know the tutorial's form does."""
    allowed = (*TUTORIAL, *KNOWS_THE_TUTORIAL)
    return [
        f"{arrow.source}:{arrow.line} may not know {arrow.target}"
        for arrow in arrows
        if row_of(arrow.target) in TUTORIAL and row_of(arrow.source) not in allowed
    ]


def sources() -> dict[str, str]:
    files = sorted(PACKAGE.rglob("*.py"))
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text(encoding="utf-8") for path in files
    }


ARROWS = arrows_of("interpose", sources())


def test_every_file_uses_its_own_layer_and_lower_ones() -> None:
    assert len(ARROWS) > 100
    assert upwards(ARROWS) == []


def test_the_plan_has_no_file_that_does_not_exist() -> None:
    there = {row_of(name) for name in sources()}
    assert {row for rows in LAYERS.values() for row in rows} == there


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_no_files_need_each_other(kind: Kind) -> None:
    assert circles(ARROWS, kind) == []


def test_only_the_server_knows_the_form_of_the_tutorial() -> None:
    assert of_the_tutorial(ARROWS) == []
    assert any(arrow.source == "_server" and arrow.target == "_tutorial" for arrow in ARROWS)


def drawn(**texts: str) -> list[Arrow]:
    """Return the arrows of made-up files, whose folders are written with two underscores."""
    return arrows_of("interpose", {name.replace("cli__", "_cli."): text for name, text in texts.items()})


ONE_OF = "from ._b import thing"
SPELLINGS = [
    ONE_OF,
    "from . import _b",
    "from . import (\n    _c,\n    _b,\n)",
    "import interpose._b",
    "from interpose import _b",
    "from interpose._b import thing",
    "import importlib; importlib.import_module('interpose._b')",
    "class A:\n    from ._b import thing",
    "try:\n    from ._b import thing\nexcept ImportError: ...",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_the_check_sees_every_spelling_of_an_import(text: str) -> None:
    found = drawn(_a=text, _b="")
    assert [(arrow.source, arrow.target, arrow.kind) for arrow in found] == [("_a", "_b", Kind.LOADING)]


def test_the_check_sees_imports_within_a_folder_and_out_of_it() -> None:
    found = drawn(cli____init__="from .demo import run\nfrom .. import _a", cli__demo="from .._a import b", _a="")
    assert {(arrow.source, arrow.target) for arrow in found} == {
        ("_cli.__init__", "_cli.demo"),
        ("_cli.__init__", "_a"),
        ("_cli.demo", "_a"),
    }


def test_the_check_tells_when_an_import_is_made() -> None:
    deferred = f"def f():\n    {ONE_OF}"
    typing = f"if TYPE_CHECKING:\n    {ONE_OF}\nelse:\n    from ._c import other"
    lately = f"import typing\nif typing.TYPE_CHECKING:\n    def f():\n        {ONE_OF}"
    for text, kind in [(deferred, Kind.DEFERRED), (f"async {deferred}", Kind.DEFERRED), (lately, Kind.TYPING)]:
        assert [arrow.kind for arrow in drawn(_a=text, _b="")] == [kind]
    assert [arrow.kind for arrow in drawn(_a=typing, _b="", _c="")] == [Kind.TYPING, Kind.LOADING]


def test_the_check_reports_a_circle_by_the_earliest_kind_that_closes_it() -> None:
    back = "from ._a import a"
    ways = {Kind.LOADING: back, Kind.DEFERRED: f"def f():\n    {back}", Kind.TYPING: f"if TYPE_CHECKING:\n    {back}"}
    for closing, text in ways.items():
        arrows = drawn(_a="from ._b import b", _b="from ._c import c", _c=text, _d=back)
        assert {kind for kind in Kind if circles(arrows, kind)} == {closing}
        assert circles(arrows, closing) == [["_a", "_b", "_c"]]
    assert not any(circles(drawn(_a="from ._b import b", _b="", _c="from ._a import a"), kind) for kind in Kind)


def test_the_check_reports_two_circles_apart_and_a_larger_one_once_more() -> None:
    texts = {"_a": "from ._b import b", "_b": "from ._a import a", "_c": "from ._d import d", "_d": "from ._c import c"}
    assert circles(drawn(**texts), Kind.LOADING) == [["_a", "_b"], ["_c", "_d"]]
    texts |= {"_e": "def f():\n    from ._a import a", "_b": "from ._a import a\ndef f():\n    from ._e import e"}
    assert circles(drawn(**texts), Kind.DEFERRED) == [["_a", "_b", "_e"]]


def test_the_check_reports_arrows_upwards_and_files_without_a_layer() -> None:
    found = upwards(drawn(_checks="\nfrom ._server import TheServer", _server="from ._odd import odd", _odd=""))
    assert found == ["_checks:2 may not use _server, which is above it", "_odd is in no layer"]
    assert upwards(drawn(_server="from ._checks import count", _checks="", _ending="from ._server import x")) == []


def test_the_check_reports_who_may_not_know_the_tutorial() -> None:
    arrows = drawn(_hooks="def f():\n    from ._script import Sides", _script="", _server="from ._script import Sides")
    assert of_the_tutorial(arrows) == ["_hooks:2 may not know _script"]
    assert of_the_tutorial(drawn(_tutorial="from ._script import Sides", _script="")) == []
