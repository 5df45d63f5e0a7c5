"""The command with scripts: prints, reloads and signals, and scripts that exit, thread, or replace their output."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.addresses import refuses
from support.deadline import poll
from support.peers import Address, Echo, connect, ending, free_port, read_exactly
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import ProxyCommand, command
from support.scripts import command as ended

from .conftest import Folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")

UPPER = "def on_client_recv(side, data):\n    print('saw', data)\n    return data.upper()"


def proxy(folder: Folder, echo: Echo, *options: str) -> ProxyCommand:
    return ProxyCommand("0", f"127.0.0.1:{echo.address[1]}", folder.path, *options)


def test_it_prints_reloads_and_unloads(folder: Folder, echo: Echo) -> None:
    folder.write("spy.py", f"def load(options): print('loaded')\n{UPPER}\ndef unload(): print('unloaded', end='')")
    argv = [*command(), "0", f"127.0.0.1:{echo.address[1]}", "--script", "spy.py"]
    with Child(argv, folder.path) as child:
        address = ("127.0.0.1", int(child.wait_for(r"\Aloaded\n.*listening on 127\.0\.0\.1:(\d+)")[1]))
        with connect(address) as client:
            assert echoed(client, b"a") == b"A"
            folder.write("spy.py", "on_client_recv = lambda side, data: data * 2")
            child.wait_for(r"interpose: script spy\.py: loaded again$")
            client.sendall(b"b")
            assert client.recv(10) == b"bb"
            folder.write("spy.py", "def on_recv(")
            child.wait_for(r"^interpose: spy\.py:1: SyntaxError: .* never closed; what was loaded before goes on$")
            folder.write("spy.py", UPPER)
            child.popen.send_signal(signal.SIGHUP)
            child.wait_for(r"(?s)goes on.*script spy\.py: loaded again")
            assert echoed(client, b"c") == b"C"
            assert not refuses(address)
        assert child.stop() == 0
        assert "saw b'a'\n" in child.output()


def test_verbose_adds_the_traceback(folder: Folder) -> None:
    folder.write("spy.py", "def load(options):\n    1 / 0\n")
    run = ended(folder.path, "0", "127.0.0.1:1", "--script", "spy.py")
    assert (run.code, run.err) == (2, "interpose: spy.py:2: ZeroDivisionError: division by zero in load()\n")
    run = ended(folder.path, "0", "127.0.0.1:1", "--script", "spy.py", "-v")
    assert "Traceback (most recent call last)" in run.err
    assert run.err.endswith("interpose: spy.py:2: ZeroDivisionError: division by zero in load()\n")


def test_prints_hold_up_nothing(folder: Folder, echo: Echo) -> None:
    reader, writer = os.pipe()
    code = "on_client_recv = lambda side, data: print(side.connection.id, 'x' * 100_000)"
    argv = [*command(), f"unix:{folder.path}/s", f"127.0.0.1:{echo.address[1]}", "-c", code, "--log-format=text"]
    with Child(argv, folder.path, stdout=writer) as child:
        os.close(writer)
        address = child.wait_for(r"\S+Z info listening on unix:(\S+),")[1]
        with connect_unix(address) as client:
            for _ in range(30):
                assert echoed(client, b"y") == b"y"
        assert child.stop() == 0
    os.set_blocking(reader, False)
    assert os.read(reader, 10).startswith(b"1 xxx")
    os.close(reader)


def connect_soon(address: Address) -> socket.socket:
    """Connect once somebody listens there."""

    def connected() -> socket.socket | None:
        try:
            return connect(address)
        except ConnectionRefusedError:
            return None

    return poll(connected, 10.0, f"a listener on {address}")


def connect_unix(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10.0)
    client.connect(path)
    return client


ODD = {
    "exits in a hook": ("import sys\non_client_recv = lambda side, data: sys.exit(5)", 5, ""),
    "threads": (
        "import threading\nthreading.Thread(target=threading.main_thread().join, name='mine').start()\n"
        "on_client_recv = lambda side, data: side.connection.close() or b''",
        0,
        "script spy.py: the thread mine goes on, and the command ends when it does; end it in unload(), "
        "or make it daemon=True",
    ),
    "replaces sys.stdout": (
        "import io, sys\nsys.stdout = io.StringIO()\nprint('lost')\n"
        "on_client_recv = lambda side, data: side.connection.close() or b''",
        0,
        "script spy.py: it has put another stream in the place of sys.stdout; what it prints goes there, "
        "and may wait there",
    ),
}


def test_a_script_that_exits_before_the_command_waits_ends_it_with_its_code(folder: Folder, echo: Echo) -> None:
    """Standard output takes nothing, so the command is held up behind its start, and clients are served meanwhile."""
    folder.write("spy.py", ODD["exits in a hook"][0])
    port = free_port()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65536))
    os.set_blocking(writing, True)
    argv = [*command(), str(port), f"127.0.0.1:{echo.address[1]}", "--script", "spy.py"]
    with subprocess.Popen(argv, cwd=folder.path, stdout=writing, stderr=subprocess.PIPE) as child:
        try:
            poll(lambda: not refuses(("127.0.0.1", port)), 10.0, "it listens")
            with connect(("127.0.0.1", port)) as client:
                client.sendall(b"x")
                ending(client)
            assert child.wait(10) == 5
        finally:
            child.kill()
            os.close(reading)
            os.close(writing)


@pytest.mark.parametrize("name", ODD)
def test_odd_scripts(name: str, folder: Folder, echo: Echo) -> None:
    text, code, line = ODD[name]
    folder.write("spy.py", text)
    argv = [*command(), "0", f"127.0.0.1:{echo.address[1]}", "--script", "spy.py"]
    with Child(argv, folder.path) as child:
        with connect(("127.0.0.1", int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1]))) as client:
            client.sendall(b"x")
            ending(client)
        assert (child.wait(10) if code else child.stop()) == code
        assert line in child.output()
        assert "Traceback" not in child.output()
        assert "lost" not in child.output()


def test_an_unload_that_does_not_return_does_not_hold_up_the_end(folder: Folder, echo: Echo) -> None:
    folder.write("spy.py", f"import threading\n{UPPER}\ndef unload(): threading.Event().wait()")
    with proxy(folder, echo, "--script", "spy.py") as running:
        assert running.stop() == 0
        assert "its unload() has not returned for 2 s; the end does not wait for it" in running.child.output()


def test_without_scripts_sighup_ends_it(folder: Folder, echo: Echo) -> None:
    with proxy(folder, echo) as running:
        running.child.popen.send_signal(signal.SIGHUP)
        assert running.child.wait(10) == 0


@pytest.mark.parametrize("quiet", [[], ["--quiet"]], ids=["plain", "quiet"])
def test_sigusr1_lists_the_connections(quiet: list[str], folder: Folder, echo: Echo) -> None:
    port = free_port()
    argv = [*command(), f"{port}", f"127.0.0.1:{echo.address[1]}", *quiet]
    with Child(argv, folder.path) as child, connect_soon(("127.0.0.1", port)) as client:
        assert echoed(client, b"12345") == b"12345"
        mine, upstream = (re.escape(f"127.0.0.1:{port}") for port in (client.getsockname()[1], echo.address[1]))
        counts = r"\d+\.\d s, 5 bytes to the upstream, 5 to the client, open"
        lines = rf"(?m)^interpose: SIGUSR1: 1 connection now, 1 since the start\ninterpose: 1: client {mine}, "
        wanted = re.compile(rf"{lines}upstream {upstream}, {counts}$")

        def is_listed() -> bool:
            # The bytes are counted once they are written, which may be behind their arrival.
            child.popen.send_signal(signal.SIGUSR1)
            return wanted.search(child.output()) is not None

        poll(is_listed, 10.0, "the connection is listed")
        client.close()
        assert child.stop() == 0


SECOND = """
[[listener]]
listen = "unix:second"
forward_to = "127.0.0.1:{0}"
callbacks.errors = "raise"
scripts = {{ code = "on_client_recv = lambda side, data: 1 / 0" }}
"""


def test_any_listener_that_ends_by_itself_ends_the_command(folder: Folder, echo: Echo) -> None:
    text = '[[listener]]\nlisten = "unix:first"\nforward_to = "127.0.0.1:{0}"\n'
    (folder.path / "proxy.toml").write_text((text + SECOND).format(echo.address[1]))
    with Child([*command(), "--config", "proxy.toml"], folder.path) as child:
        child.wait_for("listening on unix:second")
        with connect_unix(str(folder.path / "second")) as client:
            client.sendall(b"x")
            child.wait_for("^interpose: listener unix:second: it has ended by itself, and with it all end$")
        assert child.wait(10) == 1
        assert "ZeroDivisionError" in child.output()


def test_a_settings_file_has_scripts_and_may_add_some(folder: Folder, echo: Echo) -> None:
    folder.write("spy.py", "options = {'n': 1}\non_client_recv = lambda side, data: data * options['n']")
    first = f'[[listener]]\nlisten = "unix:a"\nforward_to = "127.0.0.1:{echo.address[1]}"\n'
    second = first.replace("unix:a", "unix:b") + 'scripts = { script = "spy.py", set = "n=2" }\n'
    file = folder.path / "proxy.toml"
    file.write_text(first)
    with Child([*command(), "--config", "proxy.toml"], folder.path) as child:
        child.wait_for("listening on unix:a")
        file.write_text(first + second)
        child.popen.send_signal(signal.SIGHUP)
        child.wait_for("listening on unix:b")
        with connect_unix(str(folder.path / "b")) as client:
            client.sendall(b"x")
            assert read_exactly(client, 2) == b"xx"
            folder.write("spy.py", "options = {'n': 1}\non_client_recv = lambda side, data: b'y' * options['n']")
            child.wait_for(r"script spy\.py: loaded again")
            client.sendall(b"x")
            assert read_exactly(client, 2) == b"yy"
        assert child.stop() == 0


def test_check_compiles_scripts_and_runs_none(folder: Folder) -> None:
    folder.write("spy.py", "raise SystemExit(9)")
    run = ended(folder.path, "check", "9090", "127.0.0.1:7070", "--script", "spy.py", "-c", "x = 1")
    assert (run.code, run.err) == (0, "")
    run = ended(folder.path, "check", "9090", "127.0.0.1:7070", "-c", "x =")
    assert (run.code, run.err) == (2, "interpose: -c:1: SyntaxError: invalid syntax\n")


def test_a_listener_that_is_taken_unloads_its_scripts(folder: Folder, echo: Echo) -> None:
    folder.write("spy.py", f"{UPPER}\ndef unload():\n    with open('unloaded', 'x'): pass")
    run = ended(folder.path, str(echo.address[1]), "127.0.0.1:1", "--script", "spy.py")
    assert run.code == 4
    assert Path(folder.path / "unloaded").exists()
