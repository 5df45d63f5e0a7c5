"""Scripts: what they may have, their options, several of them, and what is wrong with them, with its place."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from interpose import ConfigError
from interpose._cli.scripting.source import of_text, ready_names
from support.addresses import address_of
from support.deadline import poll
from support.peers import connect
from support.peers import echo as echoed

from .conftest import Folder, Scripted


def answer(scripted: Scripted, *scripts: str, data: bytes = b"abc", **settings: str) -> bytes:
    server, _ = scripted(*scripts, **settings)  # type: ignore[arg-type]
    with connect(address_of(server)) as client:
        client.sendall(data)
        return client.recv(100)


@pytest.mark.parametrize(
    "code",
    [
        "on_client_recv = lambda side, data: data.replace(b'a', b'b')",
        "def on_client_recv(side, data):\n    return data.replace(b'a', b'b')",
        "import asyncio\nasync def on_client_recv(side, data):\n"
        "    await asyncio.sleep(0)\n    return data.replace(b'a', b'b')",
        "from interpose import framing\nframing = framing.fixed(3)\n"
        "on_client_recv = lambda side, data: data.replace(b'a', b'b') if not side.partial else b''",
        "from interpose import filters\nfilters = [filters.Replace('a', 'b', direction='to_upstream')]",
        "from interpose.filters import Replace\nfilters = (Replace('a', 'x'), Replace('x', 'b'))\n"
        "on_client_recv = lambda side, data: None",
    ],
    ids=["lambda", "def", "async", "framing", "filters", "filters and a hook"],
)
def test_a_hook_of_a_module_is_called(code: str, scripted: Scripted) -> None:
    assert answer(scripted, code=code) == b"bbc"


def test_every_hook_is_found_by_its_name(folder: Folder, scripted: Scripted) -> None:
    names = ["on_accept", "on_connect", "on_close"]
    hooks = "".join(f"def {name}(conn): seen.append('{name}')\n" for name in names)
    path = folder.write(
        "all.py", f"seen = []\n{hooks}def on_eof(side): seen.append('on_eof')\ndef on_recv(side, data): pass"
    )
    server, _ = scripted(path)
    with connect(address_of(server)) as client:
        echoed(client, b"x")
    module = next(module for name, module in sys.modules.items() if name.startswith("interpose_script_all_"))
    poll(lambda: "on_close" in module.seen, 10.0, "all hooks are called")
    assert {*names, "on_eof"} == {*module.seen}


def test_options_are_converted_by_their_defaults(folder: Folder, scripted: Scripted) -> None:
    path = folder.write(
        "typed.py",
        """
        options = {"flag": False, "count": 1, "delay": 0.5, "word": "a", "raw": b"", "any": None}
        options |= {"names": ("x",), "ports": [1]}
        def load(options):
            global answer
            answer = repr(options).encode()
        on_client_recv = lambda side, data: answer
        """,
    )
    given = (
        "flag=yes",
        "count=0x10",
        "delay=200ms",
        "typed.word=b=c",
        r"raw=\x00\r",
        "names=y, z",
        "ports=2,3",
        "any=é",
    )
    server, _ = scripted(path, given=given)
    with connect(address_of(server)) as client:
        client.sendall(b"?")
        found = eval(client.recv(1000))
    wanted = {
        "flag": True,
        "count": 16,
        "delay": 0.2,
        "word": "b=c",
        "raw": b"\x00\r",
        "names": ("y", "z"),
        "ports": [2, 3],
    }
    assert found == {**wanted, "any": "é"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("dealy=1", "--set dealy: no script has this option; did you mean delay?"),
        ("port=1", "--set port: no script has this option; there are delay, flag"),
        ("delay", "--set delay: the = is missing; write --set delay=VALUE"),
        ("=1", "--set =1: the name is missing; write --set name=VALUE"),
        ("oen.delay=1", "--set oen.delay: there is no script oen; did you mean one?"),
        ("delay=soon", "--set delay: 'soon' is not a time; write seconds, or 200ms, 10s, 5m or 1h30m"),
        ("flag=maybe", "--set flag: 'maybe' is neither yes nor no; write yes or no"),
    ],
)
def test_a_wrong_option(given: str, why: str, folder: Folder, scripted: Scripted) -> None:
    path = folder.write("one.py", 'options = {"delay": 0.5, "flag": True}\non_recv = lambda side, data: None')
    with pytest.raises(ConfigError) as refused:
        scripted(path, given=(given,))
    assert str(refused.value) == why


def test_several_scripts_see_a_chunk_one_after_the_other(folder: Folder, scripted: Scripted) -> None:
    first = folder.write("first.py", "on_client_recv = lambda side, data: [data, b'!']")
    second = folder.write("second.py", "async def on_recv(side, data): return data + b'2' if side.is_client else None")
    third = folder.write("third.py", "on_recv = lambda side, data: b'' if data == b'!2' else None")
    assert answer(scripted, first, second, third, code="on_client_recv = lambda side, data: data + b'.'") == b"abc2."


def test_the_first_that_decides_about_a_client_does(folder: Folder, scripted: Scripted) -> None:
    passes = folder.write("passes.py", "on_accept = lambda conn: None\nend = []\non_close = lambda conn: end.append(1)")
    refuses = folder.write("refuses.py", "on_accept = lambda conn: False\ndef on_close(conn): 1 / 0")
    server, _ = scripted(passes, refuses, passes)
    # The reset may come so soon that connecting tells of it.
    with pytest.raises(ConnectionError), connect(address_of(server)) as client:
        client.recv(1)
    modules = [module for name, module in sys.modules.items() if name.startswith("interpose_script_passes_")]
    poll(lambda: all(module.end for module in modules), 10.0, "each on_close is called, whatever another raises")
    assert len(modules) == 2


WRONG = {
    "x = 1\ndef f(\n": "s.py:2: SyntaxError: '(' was never closed",
    "x = 1\n\nx.y\n": "s.py:3: AttributeError: 'int' object has no attribute 'y'",
    "import sys\nsys.exit(7)\n": "s.py:2: it exits while it is loaded (SystemExit: 7); return instead",
    "import nowhere_at_all\n": "s.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'",
    "x = 1\n": "s.py: it has no hook; write one, such as def on_recv(side, data): print(data)",
    "\ndef on_recieve(side, data): pass\n": "s.py:2: on_recieve: there is no such hook; did you mean on_recv?",
    "def data_received(data): pass\n": "s.py:1: data_received: there is no such hook; did you mean on_recv?",
    "\n\ndef on_recv(data): pass\n": "s.py:3: on_recv: on_recv takes (data), and is called as on_recv(side, data)",
    "on_recv = 3\n": "s.py: on_recv: it is int, not a function; give one that can be called as on_recv(side, data)",
    "def load(): pass\n": "s.py:1: load: it is called with the options; write def load(options): ...",
    "async def load(options): pass\n": "s.py:1: load: it is no plain function; write def load(options): ...",
    "def load(options):\n    raise OSError('no disk')\n": "s.py:2: OSError: no disk in load()",
    "on_recv = lambda s, d: None\noptions = 3\n": "s.py: options: it is of the type int, not a dict; write options = "
    '{"limit": 10}',
    "filters = 3\n": "s.py: filters: it is int, not a list of filters; give a list such as [filters.Hexdump()]",
    "filters = [3]\n": "s.py: filters: it is int, not a filter; give a list such as [filters.Hexdump()]",
    "from interpose.filters import Text\nfilters = Text()\n": "s.py: filters: it is one filter, not a list of them; "
    "write [filters.Text()]",
    "framing = 'lines'\n": "s.py: framing: it is str, not a Framing; did you mean framing.lines()?",
    "import broken_beside\n": "broken_beside.py:2: ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text.strip().partition("\n")[0])
def test_what_is_wrong_is_said_with_its_place(
    text: str, folder: Folder, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    (folder.path / "s.py").write_text(text)
    folder.write("broken_beside.py", "x = 0\n1 / x")
    with pytest.raises(ConfigError) as refused:
        scripted("s.py")
    assert str(refused.value) == WRONG[text]


def test_files_that_are_no_scripts(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    folder.write("spy.py", "x = 1")
    (folder.path / "bytes.py").write_bytes(b"\xff\xfe\0")
    (folder.path / "latin.py").write_bytes(b"x = 1\ny = 'caf\xe9'\n")
    (folder.path / "large.py").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    wrong = {
        "spi.py": "--script spi.py: there is no such file; did you mean spy.py?",
        "cuont": "--script cuont: there is no such file; did you mean count?",
        "q": "--script q: there is no such file; give one, or a ready one by its name: see interpose scripts",
        ".": "--script .: it cannot be read (is a directory); give the file itself",
        "large.py": "--script large.py: it has more than 4 MiB; give a file of Python",
        "bytes.py": "--script bytes.py: it is a binary file; give a text file of Python",
        "latin.py": "latin.py:2: byte 0xe9 is no UTF-8; save it as UTF-8",
    }
    if sys.platform != "win32" and os.geteuid() != 0:
        Path("spy.py").chmod(0)
        wrong["spy.py"] = "--script spy.py: it cannot be read (permission denied); give a file that can be read"
    for text, why in wrong.items():
        with pytest.raises(ConfigError) as refused:
            of_text(text).compiled()
        assert str(refused.value).startswith(why)
        assert "\n" not in str(refused.value)


def test_a_file_goes_before_a_ready_script_of_its_name(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    name = ready_names()[0]
    assert of_text(name).folder is None
    assert of_text(name.replace("_", "-")).path == of_text(name).path
    (folder.path / name).write_text("x = 1")
    assert of_text(name).path == folder.path / name


def test_what_a_failed_load_leaves_is_unloaded(folder: Folder, scripted: Scripted) -> None:
    good = folder.write("good.py", "on_recv = lambda s, d: None\ndef unload(): open(__file__ + '.end', 'x').close()")
    with pytest.raises(ConfigError, match=r"wrong\.py:1: ZeroDivisionError"):
        scripted(good, folder.write("wrong.py", "1 / 0"))
    assert Path(f"{good}.end").exists()
    assert not any(name.startswith("interpose_script_good_") for name in sys.modules)


def test_two_framings_are_refused(folder: Folder, scripted: Scripted) -> None:
    text = "from interpose.framing import lines\nframing = lines()\non_recv = lambda s, d: None"
    with pytest.raises(
        ConfigError, match=r"framing: .*a\.py has one already; one script of a listener may cut messages"
    ):
        scripted(folder.write("a.py", text), folder.write("b.py", text))
