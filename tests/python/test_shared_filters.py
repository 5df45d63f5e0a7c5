"""One filter of two servers, and one output of two listeners, whose connections have equal numbers."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from interpose import TheServer, faults, filters, framing
from support.addresses import address_of
from support.peers import Address, Echo, connect
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command as command_argv
from support.scripts import command


def talk_at_once(first: Address, second: Address) -> None:
    """Open a connection to each, and send a line in two pieces through both in turn."""
    with connect(first) as one:
        # An output counts the listeners in the order in which it sees them.
        say(one, b"one begin ")
        with connect(second) as other:
            say(other, b"two begin ")
            say(one, b"one end\n")
            say(other, b"two end\n")


def say(client: socket.socket, data: bytes) -> None:
    assert echoed(client, data) == data


def two_servers(make: filters.Filter, upstream: Echo) -> None:
    with (
        TheServer("", 0, upstream.address, filters=[make]) as first,
        TheServer("", 0, upstream.address, filters=[make]) as second,
    ):
        talk_at_once(address_of(first), address_of(second))


def of_each(lines: list[str]) -> dict[str, list[str]]:
    """Return the lines of each connection."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in lines:
        if matched := re.match(r"[\d:.]+ (#[\d.]+) (.*)", line):
            found[matched[1]].append(matched[2])
    return found


@pytest.mark.parametrize("kind", [filters.Text, filters.Hexdump])
def test_lines_name_the_connections_of_the_second_server_by_its_number(
    echo: Echo, kind: type[filters.Text | filters.Hexdump]
) -> None:
    out = io.StringIO()
    two_servers(kind(out), echo)
    lines = of_each(out.getvalue().splitlines())
    assert sorted(lines) == ["#1", "#2.1"]
    for of_one in lines.values():
        assert of_one[0].startswith("open ")
        assert of_one[-1].startswith("closed finished, > 18 bytes, < 18 bytes")


def test_json_has_the_number_of_the_listener(echo: Echo) -> None:
    out = io.StringIO()
    two_servers(filters.JsonLines(out), echo)
    sent: defaultdict[tuple[int, int], str] = defaultdict(str)
    for line in out.getvalue().splitlines():
        one = json.loads(line)
        if one.get("direction") == "to_upstream":
            sent[one["listener"], one["connection"]] += one.get("text", "")
    assert sent == {(1, 1): "one begin one end\n", (2, 1): "two begin two end\n"}


def test_messages_are_put_together_of_the_bytes_of_their_own_connection(echo: Echo) -> None:
    out = io.StringIO()
    two_servers(filters.Text(out, framing=framing.lines(), direction="to_upstream"), echo)
    lines = of_each(out.getvalue().splitlines())
    assert "> one begin one end\\n" in lines["#1"]
    assert "> two begin two end\\n" in lines["#2.1"]


def test_grep_shows_the_one_connection_in_which_something_matches(echo: Echo) -> None:
    out = io.StringIO()
    # A match of which both connections have a part, and one has all.
    two_servers(filters.Grep("begin two", filters.Text(out)), echo)
    assert "one" not in out.getvalue()
    assert sorted(of_each(out.getvalue().splitlines())) == ["#1"]


def test_a_capture_has_the_bytes_of_each(echo: Echo, tmp_path: Path) -> None:
    two_servers(filters.Capture(tmp_path / "a.pcapng"), echo)
    ended = command(tmp_path, "inspect", "a.pcapng", "--extract", "out")
    assert (ended.code, ended.err) == (0, "")
    sent = sorted(path.read_text("utf-8") for path in (tmp_path / "out").iterdir())
    assert sent == ["one begin one end\n"] * 2 + ["two begin two end\n"] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_a_capture_has_addresses_for_the_unix_sockets_of_each(echo: Echo, tmp_path: Path) -> None:
    capture = filters.Capture(tmp_path / "a.pcapng")
    paths = [tmp_path / "one.sock", tmp_path / "two.sock"]
    servers = [TheServer(f"unix:{path}", forward_to=echo.address, filters=[capture]).start() for path in paths]
    clients = [socket.socket(socket.AF_UNIX) for _ in paths]
    for client, path, data in zip(clients, paths, (b"one", b"two"), strict=True):
        client.connect(str(path))
        assert echoed(client, data) == data
    for client in clients:
        client.close()
    for server in servers:
        server.stop()
    ended = command(tmp_path, "inspect", "a.pcapng", "--extract", "out")
    assert ended.code == 0
    assert sorted(path.read_bytes() for path in (tmp_path / "out").iterdir()) == [b"one"] * 2 + [b"two"] * 2


def test_strikes_of_faults_are_shown_with_their_own_connection(echo: Echo) -> None:
    out = io.StringIO()
    shows = filters.Text(out)
    late = faults.Latency(0.0)
    with (
        TheServer("", 0, echo.address, filters=[shows]) as first,
        TheServer("", 0, echo.address, filters=[shows], faults=[late]) as second,
    ):
        talk_at_once(address_of(first), address_of(second))
    lines = of_each(out.getvalue().splitlines())
    assert not any("fault" in line for line in lines["#1"])
    assert any("fault" in line for line in lines["#2.1"])


def test_listeners_that_show_differently_on_one_output_are_told_apart(echo: Echo, tmp_path: Path) -> None:
    target = "{}:{}".format(*echo.address)
    listeners = [
        f'[[listener]]\nlisten = "127.0.0.1:0"\nforward_to = "{target}"\nlooking = {{ {way} = true }}\n'
        for way in ("text", "hexdump")
    ]
    (tmp_path / "proxy.toml").write_text("".join(listeners), encoding="utf-8")
    with Child([*command_argv(), "--config", "proxy.toml"], tmp_path, name="interpose") as child:
        found = child.wait_for(r"listening on 127\.0\.0\.1:(\d+)(?s:.)*listening on 127\.0\.0\.1:(\d+)")
        first, second = (("127.0.0.1", int(port)) for port in found.groups())
        talk_at_once(first, second)
        child.wait_for("#2.1 closed")
        child.wait_for("#1 closed")


def test_listeners_of_a_file_that_show_alike_share_an_output(echo: Echo, tmp_path: Path) -> None:
    target = "{}:{}".format(*echo.address)
    one = f'[[listener]]\nlisten = "127.0.0.1:0"\nforward_to = "{target}"\n[listener.looking]\ntext = true\n'
    (tmp_path / "proxy.toml").write_text(one * 2, encoding="utf-8")
    with Child([*command_argv(), "--config", "proxy.toml"], tmp_path, name="interpose") as child:
        found = child.wait_for(r"listening on 127\.0\.0\.1:(\d+)(?s:.)*listening on 127\.0\.0\.1:(\d+)")
        first, second = (("127.0.0.1", int(port)) for port in found.groups())
        talk_at_once(first, second)
        child.wait_for("#2.1 closed")
        child.wait_for("#1 closed")
