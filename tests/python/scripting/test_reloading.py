"""Scripts that change while connections live: the new hooks from the next chunk on, or the old ones where it fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from interpose import TheServer
from interpose._cli.scripting.server import ScriptedServer
from interpose._cli.scripting.watch import ScriptWatch, Watch
from support.addresses import address_of
from support.peers import connect, read_exactly
from support.peers import echo as echoed

from .conftest import Folder, Scripted

UPPER = "on_client_recv = lambda side, data: data.upper()"
COUNT = """
def on_client_recv(side, data):
    side.connection.state = (side.connection.state or 0) + 1
    return b"%d{}" % side.connection.state
"""


def look(watch: Watch) -> None:
    """Look twice: what has changed has to stand still."""
    watch.look(asked=False)
    watch.look(asked=False)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]


@pytest.fixture(autouse=True)
def levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "interpose.script")


def test_a_change_is_in_force_from_the_next_chunk_on_and_state_is_kept(
    folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder.write("spy.py", COUNT.format("a"))
    server, watch = scripted(path)
    with connect(address_of(server)) as client:
        assert echoed(client, b"??") == b"1a"
        look(watch)
        assert echoed(client, b"??") == b"2a"
        folder.write("spy.py", COUNT.format("b"))
        watch.look(asked=False)
        assert echoed(client, b"??") == b"3a"
        watch.look(asked=False)
        assert echoed(client, b"??") == b"4b"
    assert said(caplog) == [f"script {path}: loaded again"]
    assert server.stats.accepted == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("def f(", "1: SyntaxError: '(' was never closed"),
        ("def load(options):\n    {}['x']\n" + UPPER, "2: KeyError: 'x' in load()"),
        ("import sys\n\nsys.exit()", "3: it exits while it is loaded (SystemExit: None); return instead"),
        ("on_recv = lambda side: None", "1: on_recv: <lambda> takes (side), and is called as on_recv(side, data)"),
        ("x = 1", " it has no hook; write one, such as def on_recv(side, data): print(data)"),
    ],
)
def test_what_fails_keeps_what_was_loaded_before(
    text: str, place: str, folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder.write("spy.py", UPPER)
    server, watch = scripted(path)
    with connect(address_of(server)) as client:
        folder.write("spy.py", text)
        look(watch)
        look(watch)
        assert echoed(client, b"a") == b"A"
        assert said(caplog) == [f"{path}:{place}; what was loaded before goes on"]
        folder.write("spy.py", "on_client_recv = lambda side, data: b'new'")
        look(watch)
        assert echoed(client, b"new") == b"new"


def test_a_file_that_is_gone_for_a_while(folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    path = folder.write("spy.py", UPPER)
    server, watch = scripted(path)
    with connect(address_of(server)) as client:
        Path(path).rename(f"{path}~")
        look(watch)
        look(watch)
        assert echoed(client, b"a") == b"A"
        folder.write("spy.py", "on_client_recv = lambda side, data: b'b'")
        look(watch)
        assert echoed(client, b"a") == b"b"
    assert said(caplog) == [
        "script spy.py: the file is gone; what was loaded of it goes on",
        f"script {path}: loaded again",
    ]


def test_a_module_beside_a_script(folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    beside = "beside_of_reloading.py"
    folder.write(beside, "value, kept = b'1', []")
    text = f"import {beside[:-3]} as it\nit.kept.append(1)\non_client_recv = lambda side, data: it.value * len(it.kept)"
    server, watch = scripted(folder.write("spy.py", text))
    with connect(address_of(server)) as client:
        assert echoed(client, b"?") == b"1"
        # The script alone: the module beside it is as it was.
        folder.write("spy.py", text)
        look(watch)
        assert echoed(client, b"??") == b"11"
        # The module as well.
        folder.write(beside, "value, kept = b'2', []")
        look(watch)
        assert echoed(client, b"?") == b"2"
        # One that is wrong, and mended.
        folder.write(beside, "value = ")
        look(watch)
        assert echoed(client, b"?") == b"2"
        folder.write(beside, "value, kept = b'3', []")
        look(watch)
        assert echoed(client, b"?") == b"3"
    assert not list(folder.path.glob("**/*.pyc"))
    assert any(f"{beside}:1: SyntaxError: invalid syntax" in line for line in said(caplog))


def test_only_the_script_that_has_changed_is_loaded(folder: Folder, scripted: Scripted) -> None:
    text = "n = 0\ndef on_client_recv(side, data):\n    global n\n    n += 1\n    return data + b'%d' % n"
    first, second = folder.write("first.py", text), folder.write("second.py", text)
    server, watch = scripted(first, second)
    with connect(address_of(server)) as client:
        client.sendall(b"x")
        assert read_exactly(client, 3) == b"x11"
        folder.write("second.py", text)
        look(watch)
        client.sendall(b"x")
        assert read_exactly(client, 3) == b"x21"


def test_asked_it_loads_at_once_and_all(folder: Folder, scripted: Scripted) -> None:
    unload = "def unload():\n    with open(__file__ + '.end', 'a') as file: file.write('x')\n"
    path = folder.write("spy.py", unload + UPPER)
    server, watch = scripted(path)
    watch.look(asked=True)
    watch.look(asked=True)
    server.scripts.end()
    assert Path(f"{path}.end").read_text() == "xxx"


def test_another_framing_holds_for_living_connections_too(folder: Folder, scripted: Scripted) -> None:
    hook = "on_client_recv = lambda side, data: b'<%s>' % data.strip()"
    path = folder.write("spy.py", hook)
    server, watch = scripted(path)
    with connect(address_of(server)) as client:
        client.sendall(b"a\nb\n")
        assert read_exactly(client, 5) == b"<a\nb>"
        folder.write("spy.py", f"from interpose.framing import lines\nframing = (lines(), None)\n{hook}")
        look(watch)
        client.sendall(b"a\nb\n")
        assert read_exactly(client, 6) == b"<a><b>"
        with connect(address_of(server)) as later:
            later.sendall(b"a\nb\n")
            assert read_exactly(later, 6) == b"<a><b>"
        folder.write("spy.py", hook)
        look(watch)
        client.sendall(b"a\nb\n")
        assert read_exactly(client, 5) == b"<a\nb>"


def test_other_filters_hold_for_the_clients_to_come(
    folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    text = "from interpose.filters import Replace\nfilters = [Replace('a', '{}', direction='to_upstream')]"
    path = folder.write("spy.py", text.format("1"))
    server, watch = scripted(path)
    with connect(address_of(server)) as before:
        assert echoed(before, b"a") == b"1"
        folder.write("spy.py", text.format("2"))
        look(watch)
        assert echoed(before, b"a") == b"1"
        with connect(address_of(server)) as after:
            assert echoed(after, b"a") == b"2"
            folder.write("spy.py", "filters = ['hexdump']")
            look(watch)
        folder.write("spy.py", UPPER)
        with connect(address_of(server)) as after:
            assert echoed(after, b"a") == b"2"
        look(watch)
        with connect(address_of(server)) as after:
            assert echoed(after, b"a") == b"A"
    again = f"script {path}: loaded again"
    wrong = f"{path}: filters: it is str, not a filter; give a list such as [filters.Hexdump()]"
    assert said(caplog) == [again, f"{wrong}; what was loaded before goes on", again]


def test_one_script_of_two_listeners_is_reported_once(
    folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder.write("spy.py", UPPER)
    servers = [scripted(path)[0] for _ in range(2)]
    watch = ScriptWatch(Several(servers))
    watch.look()
    for text in ("on_client_recv = lambda side, data: b'!'", "x ="):
        folder.write("spy.py", text)
        watch.look()
        watch.look()
    for server in servers:
        with connect(address_of(server)) as client:
            assert echoed(client, b"a") == b"!"
    watch.load_all()
    wrong = f"{path}:1: SyntaxError: invalid syntax; what was loaded before goes on"
    assert said(caplog) == [f"script {path}: loaded again", wrong, wrong]


def test_a_reload_that_is_asked_for_says_what_is_unchanged(
    folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [folder.write("one.py", UPPER), folder.write("two.py", UPPER)]
    servers = [scripted(path)[0] for path in paths]
    watch = ScriptWatch(Several(servers))
    watch.look()
    folder.write("two.py", "on_client_recv = lambda side, data: b'!'")
    watch.load_all()
    watch.load_all()
    same = "unchanged; loaded again all the same"
    assert said(caplog) == [
        f"script {paths[0]}: {same}",
        f"script {paths[1]}: loaded again",
        f"script {paths[0]}: {same}",
        f"script {paths[1]}: {same}",
    ]
    with connect(address_of(servers[1])) as client:
        assert echoed(client, b"a") == b"!"


class Several:
    """Servers as the command has them."""

    def __init__(self, servers: list[ScriptedServer]) -> None:
        self._servers = servers

    def servers(self) -> Sequence[TheServer]:
        return self._servers


def test_hooks_that_are_gone_are_not_called(folder: Folder, scripted: Scripted) -> None:
    path = folder.write("spy.py", UPPER)
    server, watch = scripted(path)
    with connect(address_of(server)) as client:
        assert echoed(client, b"a") == b"A"
        folder.write("spy.py", "on_close = lambda conn: None")
        look(watch)
        assert echoed(client, b"a") == b"a"
    assert isinstance(server, ScriptedServer)


def test_an_unload_that_fails_is_logged(folder: Folder, scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    path = folder.write("spy.py", f"{UPPER}\ndef unload(): 1 / 0")
    _, watch = scripted(path)
    folder.write("spy.py", UPPER)
    look(watch)
    assert said(caplog) == [
        f"{path}:2: ZeroDivisionError: division by zero in unload()",
        f"script {path}: loaded again",
    ]
