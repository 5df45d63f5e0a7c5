"""`interpose inspect`: captures of others, files that are damaged, and files that are none."""

from __future__ import annotations

import json
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from support.processes import Child
from support.proxies import command as command_argv
from support.scripts import command

SAMPLES = Path(__file__).resolve().parents[1] / "core" / "captures" / "samples"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_connections_are_listed_and_their_bytes_written(tmp_path: Path) -> None:
    ended = command(tmp_path, "inspect", str(SAMPLES / "ethernet.pcap"), "--extract", "out/streams")
    assert (ended.code, ended.err) == (0, "")
    head, row = ended.out.splitlines()
    assert head.split()[:2] == ["number", "began"]
    assert row.split()[0] == "1"
    assert row.split()[-5:] == ["10.0.0.1:40000", "10.0.0.2:80", f"{len(REQUEST)}", f"{len(ANSWER)}", "finished"]
    streams = sorted((tmp_path / "out/streams").iterdir())
    assert [path.name for path in streams] == ["0001-to_client", "0001-to_upstream"]
    assert [path.read_bytes() for path in streams] == [ANSWER, REQUEST]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in streams)


def test_a_file_that_is_cut_off_is_shown_as_far_as_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "cut.pcap"
    file.write_bytes((SAMPLES / "cooked.pcap").read_bytes()[:-10])
    ended = command(tmp_path, "inspect", file.name)
    assert ended.code == 1
    assert len(ended.out.splitlines()) == 2
    assert ended.err.startswith("interpose: cut.pcap: byte 744: the file is cut off here, 62 bytes into a record")
    assert ended.err.endswith("everything before it is whole; 9 packets before it were read\n")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"", [], "byte 0: it is empty"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0", [], "gunzip"),
        (b"#!/bin/sh\necho hello\n", [], "it is no capture of packets"),
        (None, [], "no such file or directory; give a capture"),
        (REQUEST, ["--connection", "0"], "'0' is not a number from 1 on"),
        (REQUEST, ["--conection", "1"], "did you mean --connection?"),
        ((SAMPLES / "cooked.pcap").read_bytes(), ["-c", "2"], "there is no connection 2; it has 1"),
        ((SAMPLES / "unknown_link.pcap").read_bytes(), [], "2 packets were of link type 105 (IEEE 802.11) not read"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(
    content: bytes | None, words: list[str], said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    ended = command(tmp_path, "inspect", "file", *words)
    assert said in ended.err, ended
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for words in (["--extract", "file/below"], ["--extract", "/dev/full/x"]):
        ended = command(tmp_path, "inspect", str(SAMPLES / "cooked.pcap"), *words)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
        assert "give a folder that you may write to" in ended.err


def test_standard_input_and_a_reader_that_goes(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "null_big_endian.pcapng", tmp_path / "file")
    with (
        (tmp_path / "file").open("rb") as file,
        Child([*command_argv(), "inspect", "-"], tmp_path, stdin=file, stdout=subprocess.PIPE) as child,
    ):
        assert child.popen.stdout is not None
        child.popen.stdout.close()
        assert child.wait(20) == 0
        assert child.output() == ""


@pytest.mark.parametrize(
    ("kind", "said"), [("hexdump", "47 45 54 20"), ("text", "HTTP/1.1 200 OK"), ("json", "HTTP/1.1 200 OK")]
)
def test_bytes_are_shown_as_by_the_filters(kind: str, said: str, tmp_path: Path) -> None:
    for words, is_shown in (([], True), (["--connection", "1"], True), (["--connection", "2"], False)):
        ended = command(tmp_path, "inspect", str(SAMPLES / "cooked.pcap"), f"--{kind}", *words)
        assert (said in ended.out) == is_shown
        assert "\x1b" not in ended.out
    ended = command(tmp_path, "inspect", str(SAMPLES / "cooked.pcap"), "--hexdump", "--width", "4", "--truncate", "6B")
    assert "  00000000  47 45 54 20  |GET |\n  00000004  2f 20        |/ |\n" in ended.out
    assert "... and 4 more bytes" in ended.out
    ended = command(tmp_path, "inspect", str(SAMPLES / "cooked.pcap"), "--text", "--json")
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def captured_in_pieces(*pieces: bytes) -> bytes:
    """Return a capture of raw IPv4 in which a client sends these pieces, a segment each, and does not end."""
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    sequence = 1
    for number, piece in enumerate([b"", *pieces]):
        flags = 0x02 if number == 0 else 0x18  # SYN, then PSH and ACK
        segment = struct.pack(">HHIIBBHHH", 40000, 80, sequence, 1, 0x50, flags, 1024, 0, 0) + piece
        length = 20 + len(segment)
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 6, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
        capture += struct.pack("<IIII", number, 0, length, length) + header + segment
        sequence += len(piece) or 1
    return capture


def test_whole_messages_are_shown_instead_of_packets(tmp_path: Path) -> None:
    file = tmp_path / "lines.pcap"
    file.write_bytes(captured_in_pieces(b"first li", b"ne\nsecond line\nrest"))
    shown = [json.loads(line) for line in command(tmp_path, "inspect", file.name, "--json").out.splitlines()]
    assert [one["text"] for one in shown if one["event"] == "data"] == ["first li", "ne\nsecond line\nrest"]
    ended = command(tmp_path, "inspect", file.name, "--json", "--framing", "lines")
    assert (ended.code, ended.err) == (0, "")
    shown = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["text"] for one in shown if one["event"] == "data"] == ["first line\n", "second line\n", "rest"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--framing", "resp"], "--framing: it says how to show the bytes; add --hexdump, --text or --json"),
        (["--text", "--framing", "rasp"], "--framing: there is no 'rasp'; did you mean resp?"),
        (["--text", "--framing", "length"], "--framing: 'length' lacks its argument; write length:4"),
    ],
)
def test_a_framing_that_cannot_be_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    ended = command(tmp_path, "inspect", str(SAMPLES / "cooked.pcap"), *words)
    assert (ended.code, ended.out, ended.err) == (2, "", f"interpose: {said}\n")
