"""The command and signals: the first drains, the second stops at once, and it always leaves with 0."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.addresses import refuses
from support.deadline import poll
from support.peers import Address, Echo, connect, ending
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command as command_argv
from support.rounds import rounds

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

ENDING = [signal.SIGINT, signal.SIGTERM, *([] if sys.platform == "win32" else [signal.SIGHUP])]
EACH = pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)


def proxy(folder: Path, upstream: Address, *options: str) -> tuple[Child, Address]:
    """Start the command and wait for its first line."""
    child = Child([*command_argv(), "0", f"127.0.0.1:{upstream[1]}", *options], folder, name="interpose")
    try:
        return child, ("127.0.0.1", int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1]))
    except BaseException:
        child.kill()
        raise


@EACH
def test_without_connections_it_leaves_at_once(number: signal.Signals, echo: Echo, tmp_path: Path) -> None:
    child, _ = proxy(tmp_path, echo.address)
    with child:
        begin = time.monotonic()
        assert child.stop(number) == 0
        assert time.monotonic() - begin < 2.0
        assert child.output().endswith("interpose: stopping: 0 connections left\n")


@EACH
def test_the_first_signal_lets_a_connection_finish(number: signal.Signals, echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        child.popen.send_signal(number)
        child.wait_for(r"^interpose: draining: 1 connection left, for 30 s at most; signal again to stop at once$")
        poll(lambda: refuses(address), 10.0, "the listener is closed")
        assert echoed(client, b"while it drains") == b"while it drains"
        client.close()
        assert child.wait(10) == 0


@EACH
def test_the_second_signal_stops_at_once(number: signal.Signals, echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        child.popen.send_signal(number)
        child.wait_for(r"^interpose: draining")
        begin = time.monotonic()
        child.popen.send_signal(number)
        assert child.wait(10) == 0
        assert time.monotonic() - begin < 2.0
        assert ending(client) == ("reset", b"")
        assert child.output().endswith("interpose: stopping at once\n")


def test_the_drains_end_resets_what_is_left(echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address, "--drain", "0.3")
    with child, connect(address) as client:
        echoed(client, b"x")
        begin = time.monotonic()
        child.popen.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        assert 0.25 < time.monotonic() - begin < 3.0
        assert ending(client) == ("reset", b"")


def test_a_drain_of_zero_resets_at_once(echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address, "--drain", "0")
    with child, connect(address) as client:
        echoed(client, b"x")
        assert child.stop() == 0
        assert ending(client) == ("reset", b"")
        assert child.output().endswith("interpose: stopping: 1 connection left\n")


def test_many_signals(echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        for number in (signal.SIGINT, signal.SIGTERM) * 10:
            if child.popen.poll() is None:
                child.popen.send_signal(number)
        assert child.wait(10) == 0
        assert "Traceback" not in child.output()


def test_two_signals_at_the_same_moment_are_two(echo: Echo, tmp_path: Path) -> None:
    """Python runs the handlers of signals that came together one after the other: the first must not block."""
    for _ in range(rounds(4)):
        child, address = proxy(tmp_path, echo.address)
        with child, connect(address) as client:
            echoed(client, b"x")
            # Both wait while the process does.
            child.popen.send_signal(signal.SIGSTOP)
            child.popen.send_signal(signal.SIGINT)
            child.popen.send_signal(signal.SIGTERM)
            child.popen.send_signal(signal.SIGCONT)
            assert child.wait(10) == 0
            assert child.output().endswith("interpose: stopping at once\n")


def test_a_signal_just_after_the_first_line_is_never_lost(echo: Echo, tmp_path: Path) -> None:
    """Whoever waits for the line may signal in the moment before the command begins to wait."""
    argv = [*command_argv(), "0", f"127.0.0.1:{echo.address[1]}"]
    for _ in range(rounds(8)):
        with Child(argv, tmp_path, name="interpose", stdout=subprocess.PIPE) as child:
            assert child.popen.stdout is not None
            assert child.popen.stdout.readline().startswith(b"interpose: listening")
            child.popen.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0, child.output()


def test_a_kill_lets_the_port_be_used_again(echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        child.popen.kill()
        child.wait(10)
        assert ending(client)[0] in ("reset", "eof")
    again = Child([*command_argv(), str(address[1]), f"127.0.0.1:{echo.address[1]}"], tmp_path, name="again")
    with again:
        again.wait_for(r"listening on")
        with connect(address) as client:
            assert echoed(client, b"again") == b"again"
        assert again.stop() == 0


def test_a_pause_of_the_process_ends_no_connection(echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        child.popen.send_signal(signal.SIGSTOP)
        client.sendall(b"meanwhile")
        child.popen.send_signal(signal.SIGCONT)
        assert client.recv(9, 0x100) == b"meanwhile"  # MSG_WAITALL
        client.close()
        assert child.stop() == 0


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2"])
def test_a_signal_that_asks_how_it_is_gets_one_line_and_ends_nothing(name: str, echo: Echo, tmp_path: Path) -> None:
    child, address = proxy(tmp_path, echo.address)
    with child, connect(address) as client:
        echoed(client, b"x")
        for _ in range(3):
            child.popen.send_signal(getattr(signal, name))
        child.wait_for(rf"^interpose: {name}: 1 connection now, 1 since the start$")
        assert echoed(client, b"all the same") == b"all the same"
        client.close()
        assert child.stop() == 0


def test_what_nohup_has_had_ignored_stays_ignored(echo: Echo, tmp_path: Path) -> None:
    target = f"127.0.0.1:{echo.address[1]}"
    argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command_argv(), "0", target]
    with Child(argv, tmp_path, name="interpose") as child:
        address = "127.0.0.1", int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1])
        child.popen.send_signal(signal.SIGHUP)
        with connect(address) as client:
            assert echoed(client, b"after the terminal") == b"after the terminal"
        assert child.stop() == 0
        # A hangup that counted would have made the SIGTERM the second signal.
        assert "stopping at once" not in child.output()
