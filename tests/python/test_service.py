"""The command as a service: sockets that are passed, notices to the manager, forms of the log, units of the page."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interpose import ConfigError
from interpose._cli.parsing import parse
from interpose._cli.service_manager import Notifier, listen_address, passed, unused
from support.deadline import poll
from support.doc_blocks import blocks_of
from support.peers import Address, Echo, connect, free_port
from support.peers import echo as echoed
from support.processes import Child, program
from support.proxies import command
from support.scripts import command as ended
from support.scripts import finish

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors and signals")

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/run-as-a-service.md"


class Manager:
    """A socket that takes notices, as systemd has one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(10.0)

    def take(self, first: str) -> dict[str, str]:
        """Wait for a notice with the variable `first`, and return it."""
        while True:
            notice = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
            if first in notice:
                return notice

    def close(self) -> None:
        self._socket.close()


@contextmanager
def manager(folder: Path) -> Generator[Manager]:
    made = Manager(folder / "notify")
    try:
        yield made
    finally:
        made.close()


def test_the_manager_hears_of_the_life_of_a_service(echo: Echo, tmp_path: Path) -> None:
    script = tmp_path / "spy.py"
    script.write_text("on_client_recv = lambda side, data: data.upper()")
    env = {"WATCHDOG_USEC": "200000"}
    with manager(tmp_path) as heard:
        argv = [*command(), "0", f"127.0.0.1:{echo.address[1]}", "--script", "spy.py"]
        with Child(argv, tmp_path, env={**env, "NOTIFY_SOCKET": str(heard.path)}) as child:
            assert heard.take("READY")["STATUS"] == "0 connections now, 0 since the start"
            port = int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1])
            with connect(("127.0.0.1", port)) as client:
                assert echoed(client, b"a") == b"A"
                poll(lambda: heard.take("WATCHDOG")["STATUS"].startswith("1 connection now"), 10.0, "the status")
                before = time.monotonic_ns() // 1000
                child.popen.send_signal(signal.SIGHUP)
                assert before <= int(heard.take("RELOADING")["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
                assert heard.take("READY")
            child.popen.send_signal(signal.SIGTERM)
            assert heard.take("STOPPING")["STATUS"].startswith("stopping: ")
            assert child.wait(10) == 0


def test_a_manager_that_is_gone_or_of_another_process_is_let_be(tmp_path: Path) -> None:
    asked: list[int] = []

    def alive() -> bool:
        asked.append(1)
        return True

    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}, lambda: "fine", alive)
    notifier.ready()
    notifier.stopping()
    with manager(tmp_path) as heard:
        environment = {"NOTIFY_SOCKET": str(heard.path), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid() + 1)}
        notifier = Notifier(environment, lambda: "fine", alive)
        notifier.ready()
        assert heard.take("READY") == {"READY": "1", "STATUS": "fine"}
        notifier.stopping()
        assert heard.take("STOPPING")
    assert not asked


def passing(count: int, names: str = "", pid: int = 0) -> dict[str, str]:
    return {"LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "LISTEN_PID": str(pid or os.getpid())}


def test_the_socket_that_is_meant() -> None:
    assert listen_address("9090", passing(1)) == "9090"
    assert listen_address("systemd:", passing(1)) == "fd:3"
    assert listen_address("systemd:web", passing(2, "db:web")) == "fd:4"
    assert passed(passing(2, "db")) == {3: "db", 4: ""}
    assert passed(passing(2, pid=1)) == passed({}) == passed({"LISTEN_PID": "x", "LISTEN_FDS": "y"}) == {}
    assert unused(passing(2), ["fd:3", "9090"]) == ["fd:4"]


@pytest.mark.parametrize(
    ("text", "environment", "why"),
    [
        ("systemd:", {}, "no socket was passed (LISTEN_FDS, LISTEN_PID); start it from a socket unit or with systemd"),
        ("systemd:", passing(2, "db:web"), "2 sockets were passed; write systemd:db or systemd:web"),
        ("systemd:", passing(2, "a:a"), "2 sockets were passed; write fd:3 or fd:4"),
        ("systemd:wbe", passing(2, "db:web"), "no socket of this name was passed; did you mean systemd:web?"),
        ("systemd:x", passing(1), "no socket of this name was passed; write fd:3"),
    ],
)
def test_the_socket_that_is_not_there(text: str, environment: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        listen_address(text, environment)
    assert why in str(refused.value)
    assert str(refused.value).startswith(text)


@pytest.fixture
def activate() -> str:
    return program("systemd-socket-activate", "systemd")


def unit(section: str) -> dict[str, list[str]]:
    """The lines of a section of the page's units, by their names."""
    text = next(block.text for block in blocks_of(PAGE) if block.language == "ini" and f"[{section}]" in block.text)
    lines = [line.split("=", 1) for line in text.split(f"[{section}]", 1)[1].split("\n[", 1)[0].splitlines() if line]
    found: dict[str, list[str]] = {}
    for name, value in lines:
        found.setdefault(name, []).append(value)
    return found


def test_the_units_of_the_page_run(activate: str, echo: Echo, tmp_path: Path) -> None:
    (listen,) = unit("Socket")["ListenStream"]
    (start,) = [block.text for block in blocks_of(PAGE) if "systemd: " in block.text and block.language == "ini"]
    words = start.removeprefix("ExecStart=").split()
    assert words[:2] == ["/usr/bin/env", "interpose"]
    port, upstream = free_port(), f"127.0.0.1:{echo.address[1]}"
    address = listen.replace("9090", str(port))
    argv = [*command(), *(word.replace("127.0.0.1:7070", upstream) for word in words[2:])]
    with manager(tmp_path) as heard:
        env = {"NOTIFY_SOCKET": str(heard.path), "SYSTEMD_LOG_LEVEL": "info"}
        kept = [f"--setenv={name}" for name in ("PATH", "NOTIFY_SOCKET", "INTERPOSE_TEST_RUN")]
        with Child([activate, f"--listen={address}", *kept, *argv], tmp_path, env=env) as child:
            child.wait_for("Listening on")
            with connect(("127.0.0.1", port)) as client:
                assert echoed(client, b"first") == b"first"
                assert heard.take("READY")
                child.wait_for(rf"listening on {re.escape(address)}, forwarding to")
                with connect(("127.0.0.1", port)) as other:
                    assert echoed(other, b"second") == b"second"
            assert child.stop() == 0


def test_systemd_accepts_the_units_of_the_page(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    names = ["interpose.service", "interpose.socket"]
    whole = [block.text for block in blocks_of(PAGE) if block.language == "ini" and "[Unit]" in block.text]
    for name, text in zip(names, whole, strict=True):
        (tmp_path / name).write_text(text)
    done = finish([analyze, "verify", "--man=no", *(str(tmp_path / name) for name in names)], tmp_path)
    complaints = [line for line in done.err.splitlines() if "interpose." in line]
    assert complaints == []


def test_the_container_of_the_page_runs_a_command_that_serves() -> None:
    (text,) = [block.text for block in blocks_of(PAGE) if block.language == "dockerfile"]
    instructions = {word: rest for word, _, rest in (line.partition(" ") for line in text.splitlines())}
    assert sorted(instructions) == ["CMD", "ENTRYPOINT", "EXPOSE", "FROM", "RUN", "STOPSIGNAL", "USER"]
    words: list[str] = [*json.loads(instructions["ENTRYPOINT"]), *json.loads(instructions["CMD"])]
    assert words[0] == "interpose"
    options = parse(words[1:], {})
    (listener,) = options.listeners
    assert (listener.address, listener.listen.public) == (f"0.0.0.0:{instructions['EXPOSE']}", True)
    assert listener.forward.address == ("db", 5432)
    assert getattr(signal, instructions["STOPSIGNAL"]) == signal.SIGTERM


def test_a_socket_that_nobody_takes_is_warned_about(echo: Echo, tmp_path: Path) -> None:
    text = (
        "import os, socket, sys; given = socket.create_server(('127.0.0.1', 0)); os.dup2(given.fileno(), 3);"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])"
    )
    hook = "import os; print('LISTEN_PID' in os.environ); on_accept = lambda conn: print('LISTEN_PID' in os.environ)"
    argv = [sys.executable, "-c", text, *command(), "0", f"127.0.0.1:{echo.address[1]}", "-c", hook]
    with Child(argv, tmp_path) as child:
        child.wait_for("fd:3: it was passed to this process, and no listener takes it; write it as LISTEN")
        with connect(listening(child, r"listening on 127\.0\.0\.1:(\d+)")) as client:
            assert echoed(client, b"x") == b"x"
        # Programs that a script starts do not take the variables for theirs.
        child.wait_for(r"(?s)^True$.*^False$")
        assert child.stop() == 0


def listening(child: Child, pattern: str) -> Address:
    return "127.0.0.1", int(child.wait_for(pattern)[1])


def test_lines_with_time_and_level(echo: Echo, tmp_path: Path) -> None:
    stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    argv = [*command(), "0", f"127.0.0.1:{echo.address[1]}", "--log-format", "text", "--log-connections"]
    with Child(argv, tmp_path) as child:
        with connect(listening(child, rf"{stamp} info listening on 127\.0\.0\.1:(\d+), forwarding to")) as client:
            assert echoed(client, b"12345") == b"12345"
        child.wait_for(
            rf"{stamp} info id=1 client=\S+ listener=\S+ upstream=\S+ seconds=\d+\.\d+ to_upstream=5 to_client=5"
        )
        assert child.stop() == 0
        assert re.fullmatch(rf"(?m)({stamp} info .*\n)+", child.output())


def test_lines_as_json(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / 'so "called" = it'
    argv = [*command(), f"unix:{path}", f"127.0.0.1:{echo.address[1]}", "--log-format=json", "--log-connections"]
    with Child(argv, tmp_path) as child:
        child.wait_for("listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10.0)
            client.connect(str(path))
            assert echoed(client, b"12345") == b"12345"
        child.wait_for("connection ended")
        assert child.stop() == 0
        lines = [json.loads(line) for line in child.output().splitlines()]
    assert [line["level"] for line in lines] == ["info"] * len(lines)
    end = next(line for line in lines if line["logger"] == "interpose.access")
    assert 0 <= end.pop("seconds") < 10
    assert end.pop("time").endswith("Z")
    assert end == {
        "level": "info",
        "logger": "interpose.access",
        "message": "connection ended",
        "id": 1,
        "client": "unix:",
        "listener": f"unix:{path}",
        "upstream": f"127.0.0.1:{echo.address[1]}",
        "to_upstream": 5,
        "to_client": 5,
        "reason": "finished",
    }


def test_an_error_has_the_form_as_well(tmp_path: Path) -> None:
    line = json.loads(ended(tmp_path, "0", "127.0.0.1:1", "--log-format=json", "-c", "1/0").err)
    assert (line["level"], line["message"]) == ("error", "-c:1: ZeroDivisionError: division by zero")


def test_the_journal_gets_levels(echo: Echo, tmp_path: Path) -> None:
    log = tmp_path / "journal"
    text = (
        "import os, sys; file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); os.dup2(file, 2); stat = os.fstat(2);"
        "os.environ['JOURNAL_STREAM'] = f'{stat.st_dev}:{stat.st_ino}'; os.execv(sys.argv[2], sys.argv[2:])"
    )
    argv = [sys.executable, "-c", text, str(log), *command(), "0", f"127.0.0.1:{echo.address[1]}"]
    with Child(argv, tmp_path) as child:
        child.wait_for("listening on")
        assert child.stop() == 0
    assert log.read_text() == "<6>interpose: stopping: 0 connections left\n"
