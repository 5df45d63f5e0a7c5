"""Examples that look on: what passes is what it would be without them."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.example_scripts import Example, address_text, script
from support.peers import Echo, Served, connect, ending, read_exactly
from support.peers import echo as echoed
from support.processes import Child

from .conftest import Start


def test_hexdump_has_both_directions(start: Start, echo: Echo) -> None:
    example = start("hexdump", address_text(echo.address))
    data = bytes(range(20))
    with connect(example.address) as client:
        client.sendall(data)
        assert read_exactly(client, 20) == data
        for mark in "><":
            example.says(rf"[\d:.]+ #1 {mark} 20 bytes at 0")
            example.says(r"  00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  \|\.{16}\|")
            example.says(rf"  00000010  10 11 12 13 {' ' * 38}\|\.{{4}}\|")
        client.sendall(b"Hi!")
        assert read_exactly(client, 3) == b"Hi!"
    example.says(rf"  00000014  48 69 21 {' ' * 41}\|Hi!\|")


def frame(transaction: int, unit: int, body: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body


def device(sock: socket.socket) -> None:
    """Answers reads of registers, whose values are their numbers; refuses those from 9,000 on."""
    while header := read_exactly(sock, 7):
        transaction, _, length, unit = struct.unpack(">HHHB", header)
        body = read_exactly(sock, length - 1)
        first, count = struct.unpack(">HH", body[1:])
        values = struct.pack(f">{count}H", *range(first, first + count))
        refused = bytes([body[0] | 0x80, 2])
        answer = frame(transaction, unit, refused if first >= 9000 else bytes([body[0], 2 * count]) + values)
        # Wherever the borders of chunks are, it is the same answer.
        for byte in answer:
            sock.sendall(bytes([byte]))


def test_modbus_publishes_what_is_read(start: Start) -> None:
    with Served(device) as inverter:
        example = start("modbus", address_text(inverter.address))
        requests = [
            frame(7, 1, struct.pack(">BHH", 3, 100, 2)),
            frame(8, 1, struct.pack(">BHH", 4, 9000, 1)),
            frame(9, 2, struct.pack(">BHH", 4, 30000 & 0xFFF, 1)),
        ]
        with connect(example.address) as client:
            client.sendall(b"".join(requests))
            assert read_exactly(client, 13) == frame(7, 1, bytes([3, 4, 0, 100, 0, 101]))
            assert read_exactly(client, 9) == frame(8, 1, bytes([0x84, 2]))
            assert read_exactly(client, 11) == frame(9, 2, bytes([4, 2]) + struct.pack(">H", 30000 & 0xFFF))
        last = example.says(r'\{"unit": 2.*\}')
    assert json.loads(last) == {"unit": 2, "kind": "input", "first": 1328, "values": [1328]}
    readings = [json.loads(line) for line in example.child.output().splitlines() if line.startswith("{")]
    assert readings == [{"unit": 1, "kind": "holding", "first": 100, "values": [100, 101]}, json.loads(last)]


def test_modbus_leaves_alone_what_it_does_not_understand(start: Start, echo: Echo) -> None:
    example = start("modbus", address_text(echo.address))
    with connect(example.address) as client:
        for text in (b"GET / HTTP/1.1\r\n\r\n", b"and more"):
            client.sendall(text)
            assert read_exactly(client, len(text)) == text
    # The warning of another thread may come between the line and its end.
    example.says(r"<Connection 1 .*>: this is not Modbus/TCP; it is looked at no more.*")
    assert example.child.output().count("this is not Modbus") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_count_reports_by_address(start: Start, echo: Echo) -> None:
    example = start("count", address_text(echo.address))
    for source, sizes in (("127.0.0.2", [1000, 500]), ("127.0.0.3", [4000])):
        for size in sizes:
            with socket.create_connection(example.address, 5, (source, 0)) as client:
                client.sendall(bytes(size))
                assert len(read_exactly(client, size)) == size
        example.says(f"{source}: finished, {len(sizes)} until now")
    # The end cuts this one off, and its bytes count too.
    with connect(example.address) as client:
        assert echoed(client, b"x" * 10) == b"x" * 10
        report = report_of(example)
        assert ending(client) == ("reset", b"")
    assert report == [
        ["127.0.0.3", "1", "4000", "4000"],
        ["127.0.0.2", "2", "1500", "1500"],
        ["127.0.0.1", "1", "10", "10"],
    ]


def test_count_knows_a_connection_that_met_nobody(start: Start, refusing: tuple[str, int]) -> None:
    example = start("count", address_text(refusing))
    # The reset may come while connect() still waits.
    with suppress(ConnectionResetError), connect(example.address) as client:
        assert ending(client) == ("reset", b"")
    example.says("127.0.0.1: refused, 1 until now")
    assert report_of(example) == [["127.0.0.1", "1", "0", "0"]]


def report_of(example: Example) -> list[list[str]]:
    """The rows that it ends with."""
    _, _, rows = example.end().partition("received\n")
    return [line.split() for line in rows.splitlines() if "Ctrl-C" not in line]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
def test_a_hexdump_whose_reader_has_gone_serves_on(echo: Echo, tmp_path: Path) -> None:
    """As in `hexdump.py ... | head -1`."""
    argv = [sys.executable, script("hexdump"), "0", address_text(echo.address)]
    with Child(argv, tmp_path, stdout=subprocess.PIPE) as child:
        assert child.popen.stdout is not None
        said = child.popen.stdout.readline().decode()
        child.popen.stdout.close()
        match = re.search(r"127\.0\.0\.1:(\d+) ->", said)
        assert match, said
        address = ("127.0.0.1", int(match[1]))
        with connect(address) as client:
            for number in range(20):
                client.sendall(b"%02d" % number)
                assert read_exactly(client, 2) == b"%02d" % number
        child.wait_for("its reader has gone; nothing more is written there, and the connections go on")
        child.stop(signal.SIGINT)
        assert "Traceback" not in child.output()
        assert "Exception ignored" not in child.output()
