"""Records: how they are written, and what is wrong with those that cannot be read."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import ConfigError, RecordError, Side, TheServer, filters, framing, replay
from interpose.replay import Recording
from interpose.testing import Proxy
from support.peers import Echo
from support.records import HEADER, opened, written

DATA = '{"connection": 1, "event": "data", "direction": "to_upstream", "text": "a"}'


def ask(address: tuple[str, int], *words: bytes) -> bytes:
    """Send each of these words and read as much back, then end in order."""
    with socket.create_connection(address, 10) as client:
        answer = b""
        for word in words:
            client.sendall(word)
            while len(answer) < len(word):
                answer += client.recv(100)
            answer = b""
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(100):
            answer += data
        return answer


def recorded(address: tuple[str, int], path: Path, *words: bytes, **settings: Any) -> Recording:
    with Proxy(address, **settings) as proxy, proxy.record(path):
        ask(proxy.address, *words)
        proxy.wait_closed()
    return Recording.load(path)


def test_a_record_has_what_both_sides_sent_and_how_they_ended(echo: Echo, tmp_path: Path) -> None:
    found = recorded(echo.address, tmp_path / "a.jsonl", b"one", b"\xff\x00")
    assert len(found) == 1
    assert found.framing is None
    assert found.name == str(tmp_path / "a.jsonl")
    conversation = found.conversations[0]
    assert conversation.turns == [
        ("to_upstream", b"one"),
        ("to_client", b"one"),
        ("to_upstream", b"\xff\x00"),
        ("to_client", b"\xff\x00"),
    ]
    assert (conversation.to_upstream, conversation.to_client) == (b"one\xff\x00", b"one\xff\x00")
    assert conversation.reason == "finished"
    assert not conversation.changed
    assert conversation.upstream == f"{echo.address[0]}:{echo.address[1]}"
    assert conversation.number == 1
    assert conversation.closed is not None
    assert conversation.closed > conversation.began > 0


def test_two_records_of_the_same_are_equal_and_of_something_else_not(echo: Echo, tmp_path: Path) -> None:
    one, two, other = (
        recorded(echo.address, tmp_path / name, *words)
        for name, words in [("1", (b"a", b"b")), ("2", (b"a", b"b")), ("3", (b"a", b"c"))]
    )
    assert one == two
    assert hash(one) == hash(two)
    assert one != other
    assert one.conversations[0] == two.conversations[0]
    assert one != "one"


def test_a_record_is_its_owners_alone_and_made_anew(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("what was there")
    path.chmod(0o644)
    recorded(echo.address, path, b"one")
    assert path.read_text().startswith('{"interpose": "record", "version": 1, "time": "20')
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_two_ends_of_a_changed_connection_saw_other_bytes(echo: Echo, tmp_path: Path) -> None:
    def upper(_: Side, data: bytes) -> bytes:
        return data.upper()

    conversation = recorded(echo.address, tmp_path / "a", b"one", on_client_recv=upper).conversations[0]
    assert conversation.changed
    assert conversation.turns == [("to_upstream", b"one"), ("to_client", b"ONE")]
    to_upstream = b"".join(one.data for one in conversation.as_upstream_saw() if one.direction == "to_upstream")
    assert to_upstream == b"ONE"


def test_a_record_of_a_framing_has_whole_messages(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Proxy(echo.address) as proxy, proxy.record(path, framing=framing.lines()):
        ask(proxy.address, b"one\ntwo\n")
        proxy.wait_closed()
    found = Recording.load(path)
    assert found.framing == "lines"
    assert [one.data for one in found.conversations[0].events if one.data][:2] == [b"one\n", b"two\n"]


def test_connections_are_recorded_until_the_record_ends(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Proxy(echo.address) as proxy:
        ask(proxy.address, b"before")
        with proxy.record(path), socket.create_connection(proxy.address, 10) as client:
            client.sendall(b"in it")
            proxy.wait_for(b"in it", direction="to_client")
        client.close()
        ask(proxy.address, b"behind")
        proxy.wait_closed()
        proxy.reset()
    (conversation,) = Recording.load(path).conversations
    assert conversation.to_upstream == b"in it"


def test_leaving_the_proxy_ends_its_records_before_its_connections(echo: Echo, tmp_path: Path) -> None:
    with Proxy(echo.address) as proxy:
        proxy.record(tmp_path / "a")
        client = socket.create_connection(proxy.address, 10)
        client.sendall(b"open")
        proxy.wait_for(b"open", direction="to_client")
    client.close()
    assert Recording.load(tmp_path / "a").conversations[0].reason is None


def test_a_server_records_by_a_filter(serve: Serve, echo: Echo, tmp_path: Path) -> None:
    record = filters.Record(tmp_path / "a.jsonl")
    server: TheServer = serve(echo.address, filters=[record])
    with socket.create_connection(server.address, 10) as client:
        client.sendall(b"one")
        assert client.recv(3) == b"one"
    assert record.close(10)
    assert record.close()
    assert record.missed_events == record.missed_bytes == 0
    assert Recording.load(tmp_path / "a.jsonl").conversations[0].to_client == b"one"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (['{"connection": 1, "ev'], "line 2: it is no JSON from character 19 on"),
        (["[1]"], "line 2: it is no object of JSON"),
        ([DATA], "line 2: connection 1 has no open before its data"),
        ([opened(), opened()], "line 3: connection 1 is opened twice"),
        (
            [opened(), '{"connection": 1, "event": "close", "reason": "finished"}', DATA],
            "line 4: connection 1 is closed",
        ),
        ([opened(), DATA.replace("to_upstream", "up")], "line 3: there is no direction 'up'"),
        ([opened(), DATA.replace('"text": "a"', '"base64": "_"')], "line 3: its base64 is broken"),
        ([opened(), DATA.replace('"text": "a"', '"text": 7')], "line 3: its text is 7, which is to be a text"),
        ([opened(), DATA.replace('"data"', '"date"')], "line 3: there is no event 'date'"),
        ([opened(), DATA.replace("{", '{"time": "noon", ')], "line 3: 'noon' is no time"),
        ([DATA.replace("1", '"1"', 1)], "line 2: its connection is '1', which is to be a number"),
        (
            [opened(), '{"connection": 1, "event": "missed", "events": 3, "bytes": 4096}'],
            "line 3: 3 events with 4096 bytes were left out here, because they came faster than they could be written",
        ),
    ],
)
def test_what_is_broken_is_one_line_with_its_place(lines: list[str], text: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", lines)
    with pytest.raises(RecordError, match=f"^record {re.escape(f'{path}: {text}')}") as raised:
        Recording.load(path)
    assert "\n" not in f"{raised.value}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "it is empty; record it with interpose record"),
        ("hello\n", "line 1: it has no header, so it is no record"),
        (DATA + "\n", "line 1: it has no header, so it is no record"),
        (HEADER.replace("1", "2") + "\n", "line 1: it has version 2, and this interpose reads 1"),
        (f"{HEADER}\n{opened()}\n{DATA}"[:-5], "line 3: it is cut off in the middle; record it again"),
        (HEADER, "line 1: it is cut off in the middle; record it again"),
    ],
)
def test_a_file_that_is_no_whole_record(content: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(RecordError, match=f"^record {re.escape(f'{path}: {text}')}"):
        Recording.load(path)


def test_files_that_cannot_be_read_or_written(tmp_path: Path, echo: Echo) -> None:
    with pytest.raises(ConfigError, match="no such file or directory; give a record; record it with interpose record"):
        Recording.load(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"is a directory; give a file, not a folder$"):
        Recording.load(tmp_path)
    with pytest.raises(ConfigError, match=r"record .*: is a directory; give a file, not a folder$"):
        filters.Record(tmp_path)
    with pytest.raises(ConfigError, match=r"no such file or directory; make its folder first$"):
        filters.Record(tmp_path / "no/a.jsonl")
    with pytest.raises(ConfigError, match="path: it is empty"):
        filters.Record("")
    with pytest.raises(TypeError, match="path: it is int, not a path"):
        filters.Record(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="path: it is int, not a path"):
        Recording.load(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with Proxy(echo.address) as proxy, pytest.raises(ConfigError, match="not a folder"):
        proxy.record(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everything")
def test_files_without_rights(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [])
    path.chmod(0)
    with pytest.raises(ConfigError, match=r"permission denied; give a file that you may read$"):
        Recording.load(path)
    with pytest.raises(ConfigError, match=r"permission denied; give a file in a folder that you may write to$"):
        filters.Record(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_finds_no_room_is_said_in_the_record_which_is_not_replayed(echo: Echo, tmp_path: Path) -> None:
    pipe, path = tmp_path / "pipe", tmp_path / "session.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"record .*pipe: no such device or address; give another file"):
        filters.Record(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Proxy(echo.address) as proxy:
        record = filters.Record(pipe)
        proxy.server.filters = [*proxy.server.filters, record]
        with socket.create_connection(proxy.address, 10) as client:
            # Nobody reads the record meanwhile, and the traffic goes on.
            for _ in range(40):
                client.sendall(b"x" * 256 * 1024)
                left = 256 * 1024
                while left:
                    left -= len(client.recv(left))
        proxy.wait_closed()
        os.set_blocking(reader, True)
        with path.open("wb") as file, os.fdopen(reader, "rb") as pipe_file:
            closing = threading.Thread(target=record.close, args=(10.0,))
            closing.start()
            shutil.copyfileobj(pipe_file, file)
            closing.join()
    assert record.missed_bytes > 1_000_000
    with pytest.raises(RecordError, match=r"events with \d+ bytes were left out here, because they came faster than"):
        Recording.load(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="record /dev/full: no space left on device"):
        filters.Record("/dev/full")


def test_what_was_never_recorded_is_not_replayed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [])
    assert len(Recording.load(path)) == 0
    with pytest.raises(RecordError, match="it has no connection, so there is nothing to replay"):
        replay.serve(path)
    with pytest.raises(RecordError, match="it has no connection, so there is nothing to replay"):
        replay.play(path, "127.0.0.1:9")
