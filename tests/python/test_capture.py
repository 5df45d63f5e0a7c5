"""Captures: `filters.Capture` and `--capture`, as `interpose inspect` and tshark read them."""

from __future__ import annotations

import contextlib
import re
import socket
import stat
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from conftest import Serve
from interpose import ConfigError, Side, filters
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import wait_until_idle
from support.peers import Address, Echo, connect, ending, free_port, reset
from support.peers import echo as echoed
from support.processes import Child, program
from support.proxies import ProxyCommand
from support.proxies import command as command_argv
from support.scripts import command


def talk(address: Address, message: bytes = b"hello") -> None:
    with connect(address) as client:
        assert echoed(client, message) == message
        client.shutdown(socket.SHUT_WR)
        assert ending(client) == ("eof", b"")


def louder(_: Side, data: bytes) -> bytes:
    return data + b"!"


def rows(file: Path) -> list[list[str]]:
    """Return the connections that `interpose inspect` lists: client, server, bytes both ways, end."""
    ended = command(file.parent, "inspect", file.name)
    assert (ended.code, ended.err) == (0, ""), ended
    return [re.split(r" {2,}", row.strip())[3:] for row in ended.out.splitlines()[1:]]


def test_a_capture_has_the_names_the_bytes_and_the_end_of_each_connection(
    echo: Echo, serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "a.pcapng"
    file.write_text("what was there before")
    file.chmod(0o644)
    server = serve(echo.address, filters=[filters.Capture(file)])
    talk(address_of(server))
    with connect(address_of(server)) as client:
        assert echoed(client, b"x") == b"x"
        reset(client)
    server.stop()
    host, port = address_of(server)
    assert [row[1:] for row in rows(file)] == [
        [f"{host}:{port}", "5", "5", "finished"],
        [f"{host}:{port}", "1", "1", rows(file)[1][-1]],
    ]
    assert rows(file)[1][-1].startswith("client_reset")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("sides", ["auto", "both"])
def test_both_sides_show_what_came_and_what_went_out(
    echo: Echo, serve: Serve, tmp_path: Path, sides: Literal["auto", "both"]
) -> None:
    file = tmp_path / "a.pcapng"
    capture = filters.Capture(file, sides=sides)
    server = serve(echo.address, filters=[capture], on_client_recv=louder)
    with connect(address_of(server)) as client:
        client.sendall(b"hello")
        poll(lambda: client.recv(6, socket.MSG_PEEK) == b"hello!", 10.0, "the answer")
    wait_until_idle(server)
    assert capture.flush(10.0)
    ended = command(tmp_path, "inspect", file.name, "--extract", "out")
    assert ended.code == 0
    streams = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert streams == {
        "0001-to_upstream": b"hello",
        "0001-to_client": b"hello!",
        "0002-to_upstream": b"hello!",
        "0002-to_client": b"hello!",
    }
    assert [row[0].endswith("(upstream)") for row in rows(file)] == [False, True]


def test_a_filter_that_changes_has_two_sides_and_none_has_one(echo: Echo, serve: Serve, tmp_path: Path) -> None:
    for name, others, sides in [("a", [filters.Replace("a", "b")], [False, True]), ("b", [], [False])]:
        file = tmp_path / f"{name}.pcapng"
        capture = filters.Capture(file)
        server = serve(echo.address, filters=[*others, capture])
        with connect(address_of(server)) as client:
            assert echoed(client, b"ccc") == b"ccc"
        server.stop()
        assert capture.flush(10.0)
        assert [row[0].endswith("(upstream)") for row in rows(file)] == sides


def test_files_begin_anew_by_size_and_the_oldest_go(echo: Echo, serve: Serve, tmp_path: Path) -> None:
    capture = filters.Capture(tmp_path / "a.pcapng", rotate_size=20_000, rotate_keep=2)
    server = serve(echo.address, filters=[capture])
    for _ in range(8):
        talk(address_of(server), b"x" * 10_000)
    server.stop()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert all(re.fullmatch(r"a_0000\d_20\d{12}\.pcapng", file.name) for file in files)
    assert all(rows(file) for file in files)
    assert rows(files[-1])[-1][-1] == "finished"


def test_a_disk_that_is_full_ends_the_capture_behind_a_whole_packet_and_nothing_else(
    echo: Echo, tmp_path: Path
) -> None:
    """The limit of a file's size stands for the disk's."""
    limited = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "-", *command_argv(), "127.0.0.1:0"]
    argv = [*limited, f"127.0.0.1:{echo.address[1]}", "--capture", "a.pcapng"]
    with Child(argv, tmp_path, name="interpose") as proxy:
        address = ("127.0.0.1", int(proxy.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1]))
        talk(address, b"x" * 3_000_000)
        proxy.wait_for("capture a.pcapng: .*nothing more is written there")
        talk(address, b"x" * 1_000_000)
        assert proxy.stop() == 0
        assert proxy.output().count("nothing more is written there") == 1
    assert rows(tmp_path / "a.pcapng")[0][-1] == "open"
    with pytest.raises(ConfigError, match="capture /dev/full: no space left on device; make room"):
        filters.Capture("/dev/full")


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in (
        ("none/a.pcapng", "make its folder first"),
        (".", "give a file, not a folder"),
        ("file/a.pcapng", "give another file"),
    ):
        ended = command(tmp_path, "0", "127.0.0.1:1", "--capture", path)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert ended.err.startswith("interpose: --capture ")
        assert ended.err.endswith(f"{said}\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--capture-keep", "2"], "add --capture FILE"),
        (["--capture", "a", "--capture-keep", "2"], "add --capture-rotate-size or --capture-rotate-after"),
        (["--capture", "a", "--capture-snaplen", "0"], "--capture-snaplen: it is below 1"),
        (["--capture", "-", "--capture-rotate-size", "1MB"], "it cannot begin anew"),
        (["--capture", "a", "--capture-rotate-size", "10"], "--capture-rotate-size: it is below 1024"),
        (["--capture", "a", "--capture-sides", "clients"], "--capture-sides"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options: list[str], said: str, tmp_path: Path) -> None:
    ended = command(tmp_path, "0", "127.0.0.1:1", *options)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert said in ended.err


def test_the_command_captures_into_a_file(echo: Echo, tmp_path: Path) -> None:
    with ProxyCommand("127.0.0.1:0", f"127.0.0.1:{echo.address[1]}", tmp_path, "--capture", "a.pcapng") as proxy:
        talk(proxy.address)
        assert proxy.stop() == 0
    assert rows(tmp_path / "a.pcapng")[0][1:] == [f"127.0.0.1:{proxy.address[1]}", "5", "5", "finished"]


def test_standard_output_is_followed_while_the_connection_lives(echo: Echo, tmp_path: Path) -> None:
    """Its reader has each packet at once, and the command's own lines go elsewhere."""
    tshark = program("tshark", "tshark")
    argv = ["127.0.0.1:0", f"127.0.0.1:{echo.address[1]}", "--capture", "-"]
    with Child([*command_argv(), *argv], tmp_path, stdout=subprocess.PIPE) as proxy:
        reads = [tshark, "-l", "-i", "-", "-T", "fields", "-e", "tcp.payload"]
        packets = proxy.popen.stdout
        assert packets is not None
        with (tmp_path / "said").open("wb") as said, Child(reads, tmp_path, stdin=packets, stdout=said):
            found = proxy.wait_for(r"listening on 127\.0\.0\.1:(\d+)")
            with connect(("127.0.0.1", int(found[1]))) as client:
                assert echoed(client, b"hello") == b"hello"
                poll(lambda: (tmp_path / "said").read_text().count(b"hello".hex()) == 2, 20.0, "tshark has both")
            assert proxy.stop() == 0


def test_a_file_ends_with_the_figures_of_its_interfaces(echo: Echo, tmp_path: Path) -> None:
    capinfos = program("capinfos", "wireshark-common")
    with ProxyCommand("0", "{}:{}".format(*echo.address), tmp_path, "--capture", "a.pcapng") as proxy:
        talk(proxy.address)
        proxy.stop()
    shown = subprocess.run([capinfos, "a.pcapng"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.count("Number of stat entries = 1") == 2, shown
    assert len(rows(tmp_path / "a.pcapng")) == 1


@pytest.mark.parametrize("way", ["--text", "--json"])
def test_a_client_that_nobody_served_is_shown_with_the_reason(tmp_path: Path, way: str) -> None:
    target = f"127.0.0.1:{free_port()}"
    with ProxyCommand("0", target, tmp_path, "--capture", "a.pcapng") as proxy:
        # The reset may come before the connect has been seen to be one.
        with contextlib.suppress(ConnectionResetError), connect(proxy.address) as client:
            assert ending(client)[0] == "reset"
        proxy.stop()
    ended = command(tmp_path, "inspect", "a.pcapng", way)
    assert ended.code == 0
    said = "closed refused" if way == "--text" else '"reason": "refused", "error": "'
    assert said in ended.out
    assert target in ended.out
