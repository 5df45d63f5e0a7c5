"""`interpose record` and `interpose replay`, as processes."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interpose.replay import Recording
from support.peers import Address, Echo, ending, read_exactly
from support.processes import Child
from support.proxies import LISTENING, command
from support.records import opened, written
from support.scripts import finish

WORDS = (b"one", b"two")


def ask(address: Address, *words: bytes) -> list[bytes]:
    """The answers to these words, each of a connection that then ends in order."""
    found: list[bytes] = []
    for word in words:
        with socket.create_connection(address, 10) as client:
            client.sendall(word)
            found.append(read_exactly(client, len(word)))
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", b"")
    return found


@contextmanager
def started(folder: Path, *words: str) -> Generator[tuple[Child, Address]]:
    """A command that listens, and where."""
    child = Child([*command(), *words], folder, name="interpose")
    try:
        found = re.search(LISTENING, child.wait_for(r"\A.*\n").group())
        assert found is not None
        yield child, (found[1], int(found[2]))
    finally:
        child.kill()


@pytest.fixture
def record(echo: Echo, tmp_path: Path) -> Path:
    """A record of two connections, made by the command."""
    path = tmp_path / "session.jsonl"
    target = f"{echo.address[0]}:{echo.address[1]}"
    with started(tmp_path, "record", "127.0.0.1:0", target, str(path), "--replace", "one=1ne") as (child, address):
        assert ask(address, *WORDS) == [b"1ne", b"two"]
        assert child.stop() == 0
    return path


def test_what_was_recorded_is_played_without_the_server(record: Path, echo: Echo, tmp_path: Path) -> None:
    found = Recording.load(record)
    assert [one.to_client for one in found] == [b"1ne", b"two"]
    assert [one.changed for one in found] == [True, True]
    with started(tmp_path, "replay", str(record)) as (child, address):
        assert ask(address, *WORDS) == [b"1ne", b"two"]
        assert child.wait(10) == 0
        assert child.output().endswith(", replaying 2 connections\ninterpose: 2 connections were replayed\n")
    target = f"{echo.address[0]}:{echo.address[1]}"
    ended = finish([*command(), "replay", str(record), target, "--as", "client"], tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, "interpose: 2 connections were replayed\n", "")


@pytest.mark.parametrize("more", [(), ("--text", "--output", "shown.txt"), ("--replace", "one=1ne")])
def test_a_record_of_a_framing_has_whole_messages(echo: Echo, tmp_path: Path, more: tuple[str, ...]) -> None:
    path = tmp_path / "session.jsonl"
    target = f"{echo.address[0]}:{echo.address[1]}"
    with (
        started(tmp_path, "record", "127.0.0.1:0", target, str(path), "--framing", "lines", *more) as (child, address),
        socket.create_connection(address, 10) as client,
    ):
        for piece in (b"tw", b"o\nand ten\n"):
            client.sendall(piece)
        assert read_exactly(client, 12) == b"two\nand ten\n"
        client.close()
        assert child.stop() == 0
    found = Recording.load(path)
    assert found.framing == "lines"
    (one,) = found
    sent = [event.data for event in one.events if event.direction == "to_upstream" and event.data and not event.sent_on]
    assert sent == [b"two\n", b"and ten\n"]


def test_another_order_and_what_changes_are_options(record: Path, tmp_path: Path) -> None:
    words = ("replay", str(record), "--match=bytes", "--mask", r"t\w+", "--mask", r"x\d+", "--as=server")
    with started(tmp_path, *words) as (child, address):
        assert ask(address, b"ten", b"one") == [b"two", b"1ne"]
        assert child.wait(10) == 0


def test_what_goes_on_otherwise_is_a_line_and_a_code(record: Path, tmp_path: Path) -> None:
    with started(tmp_path, "replay", str(record), "127.0.0.1:0", "--timeout=100ms") as (child, address):
        with socket.create_connection(address, 10) as client:
            client.sendall(b"ons")
            assert ending(client)[0] == "reset"
        assert child.wait(10) == 1
        assert child.output().endswith(
            f"interpose: replay {record}: connection 1, to_upstream, byte 2: expected b'e', got b's'\n"
        )


@pytest.mark.parametrize("ends", ["signal", "deadline"])
def test_what_was_not_played_is_a_line_and_a_code(record: Path, tmp_path: Path, ends: str) -> None:
    timeout = "10s" if ends == "signal" else "50ms"
    with started(tmp_path, "replay", str(record), "--timeout", timeout) as (child, address):
        ask(address, b"one")
        assert (child.stop() if ends == "signal" else child.wait(10)) == 1
        assert child.output().endswith(f"replay {record}: no client came for the recorded connection 2\n")


def test_another_answer_is_a_line_and_a_code(record: Path, tmp_path: Path, echo: Echo) -> None:
    answer = '"direction": "to_client", "offset": 0, "length": 3, "text": "1n{}"'
    text = record.read_text().replace(answer.format("e"), answer.format("x"))
    other = tmp_path / "other.jsonl"
    other.write_text(text)
    ended = finish([*command(), "replay", str(other), f"127.0.0.1:{echo.address[1]}", "--as", "client"], tmp_path)
    assert ended.code == 1
    assert ended.err == (f"interpose: replay {other}: connection 1, to_client, byte 2: expected b'x', got b'e'\n")


def test_a_record_is_what_json_shows_and_a_header(record: Path) -> None:
    header, *events = [json.loads(line) for line in record.read_text().splitlines()]
    assert (header["interpose"], header["version"]) == ("record", 1)
    assert {one["event"] for one in events} == {"open", "connect", "data", "end", "close"}
    assert {one.get("place", "in") for one in events} == {"in", "out"}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["replay"], 2, "replay: the file is missing; write interpose replay session.jsonl"),
        (["replay", "{none}"], 2, "no such file or directory; give a record"),
        (["replay", "{folder}"], 2, "is a directory; give a file, not a folder"),
        (["replay", "{empty}"], 1, "it is empty; record it with interpose record"),
        (["replay", "{cut}"], 1, "line 3: it is cut off in the middle; record it again"),
        (["replay", "{nothing}"], 1, "it has no connection, so there is nothing to replay"),
        (["replay", "{one}", "unix:a"], 2, "LISTEN: unix:a is no port"),
        (["replay", "{one}", "--as", "servr"], 2, "--as: there is no 'servr'; did you mean server?"),
        (["replay", "{one}", "--as", "client"], 2, "replay: TARGET is missing; write interpose replay"),
        (["replay", "{one}", "7070", "--as", "client", "--match", "bytes"], 2, "--match: it says how clients"),
        (["replay", "{one}", "--mask", "a("], 2, "mask: b'a(' is no regular expression"),
        (["replay", "{one}", "--timeout", "soon"], 2, "--timeout"),
        (["replay", "{one}", "--timeot", "1"], 2, "did you mean --timeout?"),
        (["record"], 2, "record: LISTEN is missing; LISTEN, TARGET and FILE come first"),
        (["record", "9090", "localhost:1"], 2, "record: FILE is missing"),
        (["record", "0", "localhost:1", "{folder}"], 2, "is a directory; give a file, not a folder"),
        (["record", "0", "localhost:1", "{none}/a"], 2, "make its folder first"),
        (["record", "0", "localhost:1", "{new}", "--hexdmp"], 2, "did you mean --hexdump?"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], code: int, text: str, tmp_path: Path) -> None:
    files = {
        "none": tmp_path / "none",
        "new": tmp_path / "new",
        "folder": tmp_path,
        "empty": tmp_path / "empty",
        "cut": written(tmp_path / "cut", [opened(), '{"conn'], end=""),
        "nothing": written(tmp_path / "nothing", []),
        "one": written(tmp_path / "one", [opened()]),
    }
    files["empty"].touch()
    ended = finish([*command(), *(word.format(**files) for word in words)], tmp_path)
    assert (ended.code, ended.out) == (code, "")
    assert text in ended.err
    assert ended.err.count("\n") == 1
