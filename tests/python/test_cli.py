"""The command: what it prints, what it refuses, its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interpose import TheServer, _cli
from interpose._cli.commands import COMMANDS, Command
from support.addresses import address_of, turned_away
from support.deadline import poll
from support.peers import Address, Echo, connect
from support.peers import echo as echoed
from support.processes import Child, environment
from support.proxies import ProxyCommand
from support.proxies import command as command_argv
from support.scripts import Ended, command, finish

TARGET = "example.org:80"


def assert_one_line(ended: Ended, code: int, what: str) -> None:
    assert (ended.code, ended.out) == (code, ""), ended
    assert re.fullmatch(r"interpose: [^\n]+: [^\n]+[;(][^\n]+\n", ended.err), ended
    assert what in ended.err, ended
    assert ended.err.removesuffix("\n").isprintable(), ended


def test_the_first_line_says_where_and_where_to(echo: Echo, tmp_path: Path) -> None:
    host, port = echo.address
    with ProxyCommand("127.0.0.1:0", f"{host}:{port}", tmp_path) as proxy:
        listening = f"127.0.0.1:{proxy.address[1]}"
        assert proxy.first_line == f"interpose: listening on {listening}, forwarding to {host}:{port}\n"
        with connect(proxy.address) as client:
            assert echoed(client, b"through the command") == b"through the command"
        assert proxy.stop() == 0


def test_a_name_stays_a_name_and_a_port_alone_is_the_loopback(tmp_path: Path) -> None:
    with ProxyCommand("0", "Example.org:80", tmp_path) as proxy:
        assert proxy.first_line.startswith("interpose: listening on 127.0.0.1:")
        assert proxy.first_line.endswith(", forwarding to Example.org:80\n")


def test_a_unix_listener(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "listener"
    with ProxyCommand(f"unix:{path}", f"127.0.0.1:{echo.address[1]}", tmp_path) as proxy:
        assert proxy.first_line.startswith(f"interpose: listening on unix:{path}, ")
        assert path.exists()
        assert proxy.stop() == 0
    assert not path.exists()


def test_python_m_is_the_same_command(tmp_path: Path) -> None:
    ended = finish([sys.executable, "-m", "interpose", "--help"], tmp_path)
    assert (ended.code, ended.out) == (0, command(tmp_path, "-h").out)


def test_help_is_no_wider_than_a_terminal(tmp_path: Path) -> None:
    assert max(map(len, command(tmp_path, "--help").out.splitlines())) <= 100


def test_help_takes_little_time(tmp_path: Path) -> None:
    """It must take 50 ms on a machine that has nothing else to do; the bound here is for one that has."""
    taken: list[float] = []
    for _ in range(10):
        begin = time.perf_counter()
        subprocess.run([*command_argv(), "--help"], check=True, stdout=subprocess.DEVNULL, env=environment())
        taken.append(time.perf_counter() - begin)
    assert min(taken) < 0.15


def test_help_imports_neither_the_native_module_nor_a_parser(tmp_path: Path) -> None:
    text = "import sys; from interpose._cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = finish([sys.executable, "-c", text], tmp_path).err.split()
    assert not {"interpose._native", "argparse", "dataclasses", "re", "typing", "asyncio", "logging", "socket"} & set(
        loaded
    )
    assert "interpose._server" not in loaded


def test_the_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"interpose \d+\.\d+\.\d+\S*\n", command(tmp_path, "--version").out)


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.name], ids=lambda row: row.name)
def test_each_subcommand_has_its_own_help_and_a_line_of_the_whole(row: Command, tmp_path: Path) -> None:
    ended = command(tmp_path, row.name, "--help")
    assert (ended.code, ended.err) == (0, ""), ended
    assert ended.out.startswith(f"usage: {row.written}\n")
    assert all(option.flag in ended.out for option in row.options)
    assert max(map(len, ended.out.splitlines())) <= 100
    whole = command(tmp_path, "--help").out
    assert f"       {row.written}\n" in whole
    assert f'"interpose {row.name}": {row.line}.\n' in whole


WRONG_USAGE: list[tuple[list[str], str]] = [
    ([], "LISTEN, TARGET"),
    (["9090"], "TARGET"),
    (["9090", TARGET, "third"], "third"),
    (["9090", TARGET, "--nonsense"], "--nonsense"),
    (["9090", TARGET, "--dra", "3"], "--dra"),
    (["9090", TARGET, "-v", "-q"], "not allowed"),
    (["9090", TARGET, "--drain"], "--drain"),
    (["9090", TARGET, "--drain", "soon"], "--drain"),
    (["9090", TARGET, "--drain", "-1"], "--drain"),
    (["9090", TARGET, "--drain", "nan"], "--drain"),
    (["9090", TARGET, "--drain", "inf"], "--drain"),
    (["9090", TARGET, "--drain", "none"], "--drain"),
    (["9090", TARGET, "--connect-timeout", "0"], "--connect-timeout"),
    (["9090", TARGET, "--half-close-timeout", "1e99"], "--half-close-timeout"),
    (["9090", TARGET, "--idle-timeout", ""], "--idle-timeout"),
    (["9090", TARGET, "--max-connections", "0"], "--max-connections"),
    (["9090", TARGET, "--max-connections", "1.5"], "--max-connections"),
    (["9090", TARGET, "--max-connections", "9" * 30], "--max-connections"),
    (["9090", TARGET, "--backlog", "many"], "--backlog"),
    (["9090", TARGET, "--source", "nowhere"], "nowhere"),
    (["", TARGET], "the port is missing"),
    (["9090", ""], "the port is missing"),
    (["99999", TARGET], "99999"),
    ([":9090", TARGET], "the host is empty"),
    (["9090", "example.org"], "the port is missing"),
    (["9090", "example.org:0"], "port 0"),
    (["9090", "::1:80"], "brackets"),
    (["9090", "127.0.0.1:9090"], "own address"),
    (["9090", "exa\x1b[31mmple:80"], "\\u{1b}"),
    (["9090", "two\nlines:80"], "\\n"),
    (["demo", "extra"], "demo"),
]


@pytest.mark.parametrize(("words", "what"), WRONG_USAGE, ids=[" ".join(map(ascii, words)) for words, _ in WRONG_USAGE])
def test_wrong_usage_is_2_and_one_line(words: list[str], what: str, tmp_path: Path) -> None:
    assert_one_line(command(tmp_path, *words), _cli.USAGE, what)


def test_an_argument_that_is_not_text(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("arguments are bytes on Linux only")
    argv = [os.fsencode(word) for word in [*command_argv(), "9090"]] + [b"caf\xe9:80"]
    ended = subprocess.run(argv, capture_output=True, timeout=30, env=environment(), check=False)
    assert ended.returncode == _cli.USAGE
    assert ended.stderr.count(b"\n") == 1
    assert b"\\udce9" in ended.stderr


def test_a_port_in_use_is_4(tmp_path: Path) -> None:
    with TheServer("", 0, TARGET) as other:
        port = address_of(other)[1]
        ended = command(tmp_path, str(port), TARGET)
    assert_one_line(ended, _cli.CANNOT_BIND, f"127.0.0.1:{port}")


@pytest.mark.parametrize("listen", ["192.0.2.1:9090", "nowhere.invalid:9090", "unix:/no/such/folder/x"])
def test_a_listener_that_cannot_be_had_is_4(listen: str, tmp_path: Path) -> None:
    assert_one_line(command(tmp_path, listen, TARGET), _cli.CANNOT_BIND, listen.rpartition(":")[0])


def test_a_failed_upstream_is_one_line_and_the_command_goes_on(refusing: Address, tmp_path: Path) -> None:
    with ProxyCommand("0", f"127.0.0.1:{refusing[1]}", tmp_path) as proxy:
        for _ in range(3):
            assert turned_away(proxy.address)
        proxy.child.wait_for(r"refused")
        assert proxy.stop() == 0
        lines = proxy.child.output().splitlines()
    assert [line for line in lines if not line.startswith("interpose: ")] == []
    assert sum("refused" in line for line in lines) <= 3


def test_verbose_tells_each_opening_and_end(echo: Echo, tmp_path: Path) -> None:
    argv = [*command_argv(), "0", f"127.0.0.1:{echo.address[1]}", "-v"]
    with Child(argv, tmp_path, name="interpose") as child:
        port = int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+), forwarding")[1])
        with connect(("127.0.0.1", port)) as client:
            name = f"127.0.0.1:{client.getsockname()[1]}"
            echoed(client, b"12345")
        child.wait_for(rf"^interpose: .*{re.escape(name)}")
        child.wait_for(r"^interpose: .*finished.*\b5\b")
        assert child.stop() == 0


def test_quiet_prints_nothing(refusing: Address, tmp_path: Path) -> None:
    path = tmp_path / "listener"
    argv = [*command_argv(), f"unix:{path}", f"127.0.0.1:{refusing[1]}", "--quiet"]
    with Child(argv, tmp_path, name="interpose") as child:
        poll(path.exists, 10.0, "it listens")
        time_to_listen(child)
        assert child.stop() == 0
        assert child.output() == ""


@pytest.mark.parametrize("public", [False, True])
def test_a_listener_for_everybody_is_warned_about(public: bool, tmp_path: Path) -> None:
    argv = [*command_argv(), "0.0.0.0:0", TARGET, *(["--public"] if public else [])]
    with Child(argv, tmp_path, name="interpose") as child:
        child.wait_for(r"listening on 0\.0\.0\.0:\d+, ")
        assert child.stop() == 0
        assert child.output().count("every machine") == (0 if public else 1)


def test_every_option_at_once(echo: Echo, tmp_path: Path) -> None:
    options = "--drain 1 --connect-timeout 5 --half-close-timeout none --idle-timeout 60 --max-connections 9"
    more = "--source 127.0.0.1 --backlog 16 --reuse-port"
    argv = [*command_argv(), "0", f"127.0.0.1:{echo.address[1]}", *options.split(), *more.split()]
    with Child(argv, tmp_path, name="interpose") as child:
        port = int(child.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1])
        with connect(("127.0.0.1", port)) as client:
            assert echoed(client, b"with everything") == b"with everything"
        assert child.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_raises_its_soft_limit_of_descriptors(tmp_path: Path) -> None:
    with Child(["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *command_argv(), "0", TARGET], tmp_path) as child:
        child.wait_for(r"listening on")
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        found = re.search(r"Max open files +(\d+) +(\d+)", limits)
        assert found is not None
        assert found[1] == found[2]
        assert int(found[1]) > 256


def test_the_library_does_not_raise_it(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with TheServer("", 0, TARGET):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["demo"], ["0", "127.0.0.1:1"]])
def test_a_reader_that_has_gone_is_no_error(words: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream, Child([*command_argv(), *words], tmp_path, stdout=stream) as child:
        stream.close()
        if words[0] == "0":
            time_to_listen(child)
            assert child.stop() == 0
        assert child.wait(20) == 0
        assert "Traceback" not in child.output()
        assert "BrokenPipe" not in child.output()


def time_to_listen(child: Child) -> None:
    """Wait until it has its signal handlers, which come before the first line that nobody reads."""
    status = Path(f"/proc/{child.pid}/status")
    if not status.exists():
        pytest.skip("no /proc to see signal handlers in")

    def handles_sigterm() -> bool:
        found = re.search(r"SigCgt:\s+([0-9a-f]+)", status.read_text())
        return found is not None and bool(int(found[1], 16) & 1 << 14)

    poll(handles_sigterm, 10.0, "a handler for SIGTERM")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str, tmp_path: Path) -> None:
    ended = finish(["sh", "-c", f'exec "$@" {closed}', "sh", *command_argv(), "9090"], tmp_path)
    assert ended.code == _cli.USAGE


def test_text_that_a_terminal_cannot_show(tmp_path: Path) -> None:
    with Child([*command_argv(), "0", "bücher.example:80"], tmp_path, env={"PYTHONIOENCODING": "ascii"}) as child:
        child.wait_for(r"forwarding to b\\xfccher\.example:80")
        assert child.stop() == 0


def test_main_is_callable_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["9090"]) == _cli.USAGE
    assert _cli.main(["--help"]) == _cli.OK
    assert capsys.readouterr().out.startswith("usage: interpose LISTEN TARGET")
