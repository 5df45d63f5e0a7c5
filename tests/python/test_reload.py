"""A settings file: several listeners in one process, and what SIGHUP changes of them."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from interpose import TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Address, Echo, Served, connect, ending, free_port, read_exactly
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command as command_argv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")


class Command:
    """The command with a file that can be written anew."""

    def __init__(self, folder: Path, text: str, *words: str) -> None:
        self.file = folder / "proxy.toml"
        self.file.write_text(text, encoding="utf-8")
        self.child = Child([*command_argv(), "--config", "proxy.toml", *words], folder, name="interpose")

    def listens(self, count: int) -> Address:
        """Wait until `count` listeners were said, and return the address of the last one."""
        pattern = re.compile(r"^interpose: listening on 127\.0\.0\.1:(\d+), ", re.MULTILINE)
        poll(lambda: len(pattern.findall(self.child.output())) >= count, 10.0, f"{count} listeners")
        return "127.0.0.1", int(pattern.findall(self.child.output())[count - 1])

    def reload(self, text: str, said: str) -> None:
        self.file.write_text(text, encoding="utf-8")
        self.child.popen.send_signal(signal.SIGHUP)
        self.child.wait_for(said)


def listener(listen: str, target: Address, *more: str) -> str:
    return "\n".join(["[[listener]]", f'listen = "{listen}"', f'forward_to = "127.0.0.1:{target[1]}"', *more, ""])


def refuses(address: Address) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def other() -> Generator[Served]:
    """An upstream that says who it is, and nothing more."""
    with Served(lambda sock: sock.sendall(b"other")) as peers:
        yield peers


def test_two_listeners_are_served_by_one_process(echo: Echo, other: Served, tmp_path: Path) -> None:
    command = Command(tmp_path, listener("0", echo.address) + listener("127.0.0.1:0", other.address))
    with command.child:
        first, second = command.listens(1), command.listens(2)
        with connect(first) as one, connect(second) as two:
            assert echoed(one, b"hello") == b"hello"
            assert read_exactly(two, 5) == b"other"
            command.child.popen.send_signal(signal.SIGUSR1)
            command.child.wait_for(r"^interpose: SIGUSR1: [12] connections? now, 2 since the start$")
        assert command.child.stop() == 0


def test_a_reload_adds_changes_and_takes_away_listeners(echo: Echo, other: Served, tmp_path: Path) -> None:
    stays, leaves = free_port(), free_port()
    before = listener(f"{stays}", echo.address) + listener(f"{leaves}", echo.address)
    command = Command(tmp_path, before)
    with command.child:
        command.listens(2)
        with connect(("127.0.0.1", stays)) as kept, connect(("127.0.0.1", leaves)) as left:
            assert echoed(kept, b"x") == echoed(left, b"x") == b"x"
            after = listener(f"{stays}", other.address, "timeouts.idle = '5m'", "relay.splice = false")
            command.reload(after + listener("0", echo.address), r"relay\.splice")
            said = command.child.output()
            assert (
                f"127.0.0.1:{stays}: forward_to: 127.0.0.1:{echo.address[1]} -> 127.0.0.1:{other.address[1]}\n" in said
            )
            assert f"127.0.0.1:{stays}: timeouts.idle: none -> 5m\n" in said
            assert "relay.splice: yes -> no; that is fixed while it listens: start again for it\n" in said
            assert f"no longer listening on 127.0.0.1:{leaves}; 1 connection left\n" in said
            added = int(re.findall(r"reload: listening on 127\.0\.0\.1:(\d+), ", said)[-1])
            with connect(("127.0.0.1", added)) as new, connect(("127.0.0.1", stays)) as changed:
                assert echoed(new, b"new") == b"new"
                assert read_exactly(changed, 5) == b"other"
            poll(lambda: refuses(("127.0.0.1", leaves)), 10.0, "the listener is closed")
            # Those that were there before keep what they have.
            assert echoed(kept, b"kept") == b"kept"
            assert echoed(left, b"left") == b"left"
        assert command.child.stop() == 0


def test_a_reload_drains_what_it_changes_if_that_is_wanted(echo: Echo, tmp_path: Path) -> None:
    stays, leaves, same = free_port(), free_port(), free_port()
    top = 'command = { on_reload = "drain", drain = "300ms" }\n'
    before = top + "".join(listener(f"{port}", echo.address) for port in (stays, leaves, same))
    command = Command(tmp_path, before)
    with command.child:
        command.listens(3)
        clients = [connect(("127.0.0.1", port)) for port in (stays, leaves, same)]
        for client in clients:
            assert echoed(client, b"x") == b"x"
        changed, gone, kept = clients
        after = listener(f"{stays}", echo.address, "timeouts.idle = 60") + listener(f"{same}", echo.address)
        command.reload(top + after, "no longer listening")
        assert ending(changed) == ("eof", b"")
        assert ending(gone) == ("reset", b"")
        assert echoed(kept, b"kept") == b"kept"
        for client in clients:
            client.close()
        assert command.child.stop() == 0


FAILS = {
    "not TOML": ("[[listener]\n", r"proxy\.toml:1: "),
    "a wrong value": ("{same}\ntimeouts.idle = 'soon'\n", r"'soon' is not a time"),
    "a port in use": ("{same}\n{taken}", r"in use"),
    "a loop": ("[[listener]]\nlisten = '{port}'\nforward_to = '127.0.0.1:{port}'\n{new}", r"own address"),
    "gone": (None, r"there is no such file"),
}


def test_a_reload_that_fails_changes_nothing(echo: Echo, tmp_path: Path) -> None:
    port, new = free_port(), free_port()
    same = listener(f"{port}", echo.address)
    command = Command(tmp_path, same)
    with command.child, TheServer("", 0, "127.0.0.1:1") as holder:
        command.listens(1)
        taken = listener(f"{new}", echo.address) + listener(f"{address_of(holder)[1]}", echo.address)
        words = {"{same}": same, "{taken}": taken, "{port}": f"{port}", "{new}": listener(f"{new}", echo.address)}
        for text, said in FAILS.values():
            if text is None:
                command.file.unlink()
            else:
                for word, put in words.items():
                    text = text.replace(word, put)
                command.file.write_text(text, encoding="utf-8")
            command.child.popen.send_signal(signal.SIGHUP)
            command.child.wait_for(rf"^interpose: reload: .*{said}.*; nothing has changed$")
            with connect(("127.0.0.1", port)) as client:
                assert echoed(client, b"as before") == b"as before"
            assert refuses(("127.0.0.1", new))
        # And the next one works.
        command.reload(same, r"it says what it said before")
        assert command.child.stop() == 0


def test_the_command_s_own_settings_change_and_a_signal_stops_all_the_same(echo: Echo, tmp_path: Path) -> None:
    port = free_port()
    command = Command(tmp_path, listener(f"{port}", echo.address))
    with command.child:
        command.listens(1)
        text = 'command = { drain = 7, log_format = "json" }\n' + listener(f"{port}", echo.address)
        command.reload(text, r"command\.log_format: plain -> json; that is fixed while the command runs")
        assert "reload: command.drain: 30s -> 7s\n" in command.child.output()
        with connect(("127.0.0.1", port)) as client:
            assert echoed(client, b"x") == b"x"
            command.child.popen.send_signal(signal.SIGTERM)
            command.child.wait_for("draining: 1 connection left, for 7 s at most")
        assert command.child.wait(10) == 0


def test_what_is_shown_captured_and_replaced_changes_for_the_clients_to_come(echo: Echo, tmp_path: Path) -> None:
    port = free_port()

    def text(*more: str) -> str:
        return listener(f"{port}", echo.address, *more)

    command = Command(tmp_path, text("looking = { text = true, output = 'seen' }"))
    with command.child:
        command.listens(1)
        with connect(("127.0.0.1", port)) as before:
            assert echoed(before, b"first") == b"first"
            replacing = "replace = 'a=b', replace_direction = 'to_upstream'"
            looking = f"looking = {{ json = true, output = 'json', {replacing} }}"
            command.reload(text(looking, "capture.file = 'c.pcapng'"), r"capture\.file: none -> c\.pcapng$")
            assert f"127.0.0.1:{port}: looking.text: yes -> no\n" in command.child.output()
            with connect(("127.0.0.1", port)) as after:
                assert echoed(after, b"aaa") == b"bbb"
            assert echoed(before, b"aaa") == b"aaa"
            # One setting more of the file that is being written: that stays as it is, and is said.
            more = ("capture = { file = 'c.pcapng', snaplen = '1KiB' }",)
            said = r"capture\.snaplen: 256KiB -> 1KiB; the file is being written: give another one, or start again"
            command.reload(text(looking, *more), said)
            cut = f"looking = {{ json = true, output = 'json', framing = 'lines', {replacing} }}"
            said = r"looking\.framing: none -> lines; how messages are cut for replacing is fixed while it listens: "
            command.reload(text(cut, *more), said)
            command.reload(text("looking = { text = true, output = '/no/such/folder/x' }"), r"nothing has changed$")
            command.reload(text("capture.file = '-'"), r"capture\.file: c\.pcapng -> -; standard output has")
            with connect(("127.0.0.1", port)) as last:
                assert echoed(last, b"aaa") == b"aaa"
        assert command.child.stop() == 0
    seen = (tmp_path / "seen").read_text()
    assert "> first" in seen
    assert "> aaa" in seen
    assert "bbb" not in seen
    assert '"aaa"' in (tmp_path / "json").read_text()
    assert (tmp_path / "c.pcapng").stat().st_size > 500


def test_an_option_goes_before_the_file_also_at_a_reload(echo: Echo, tmp_path: Path) -> None:
    text = listener(f"{free_port()}", echo.address)
    command = Command(tmp_path, text, "--drain", "3")
    with command.child:
        command.listens(1)
        command.reload(f"command.drain = 7\n{text}", "it says what it said before")
        assert command.child.stop() == 0
