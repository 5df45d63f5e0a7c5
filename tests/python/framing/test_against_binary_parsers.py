"""Framers of binary protocols against the parsers of other projects: MQTT, TLS, MySQL and Modbus.

Random messages, one behind the other, are the same ones for both. A parser that says how much it has read is asked at
each byte, so that it shows where it ends a message as well.
"""

from __future__ import annotations

import io
import struct
from importlib import import_module
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from interpose import framing

from .test_against_parsers import SLOWLY, bytewise, cut

# They have no types, or ask for more of them than a test has.
dpkt: Any = import_module("dpkt.ssl")
mqtt: Any = import_module("paho.mqtt.client")
pymodbus: Any = import_module("pymodbus.framer.socket")
pdu: Any = import_module("pymodbus.pdu")
pymysql: Any = import_module("pymysql.connections")

# Across the border of a length in one byte, and of one in two.
DATA = st.one_of(st.binary(max_size=40), st.binary(min_size=126, max_size=130), st.binary(min_size=255, max_size=257))


class Packets:
    """The reader of paho, with the packets that it would handle."""

    def __init__(self) -> None:
        self.waiting = b""
        self.seen: list[bytes] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client._sock_recv, self._client._packet_handle = self._recv, self._handle

    def read(self) -> None:
        """Read as far as there are bytes, at most to the end of a packet."""
        self._client._packet_read()

    def _recv(self, size: int) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return data

    def _handle(self) -> Any:
        self.seen.append(bytes(self._client._in_packet["packet"]))
        return mqtt.MQTT_ERR_SUCCESS


def _control_packet(kind: int, flags: int, data: bytes) -> bytes:
    low, high = len(data) % 128, len(data) // 128
    return bytes([kind << 4 | flags, *([low] if high == 0 else [low | 128, high])]) + data


CONTROL_PACKETS = st.builds(_control_packet, st.integers(1, 15), st.integers(0, 15), DATA)


@SLOWLY
@given(st.lists(CONTROL_PACKETS, max_size=6), st.booleans())
def test_packets_end_where_paho_ends_them(packets: list[bytes], client: bool) -> None:
    reader = Packets()

    def is_whole_behind(byte: bytes) -> bool:
        reader.waiting += byte
        known = len(reader.seen)
        reader.read()
        return len(reader.seen) > known

    stream = b"".join(packets)
    assert cut(framing.mqtt(), stream, client=client) == list(bytewise(stream, is_whole_behind)) == packets
    assert reader.seen == [packet[2 if packet[1] < 128 else 3 :] for packet in packets]


def _record(kind: int, minor: int, data: bytes) -> bytes:
    return struct.pack("!BBBH", kind, 3, minor, len(data)) + data


RECORDS = st.builds(
    _record,
    st.integers(20, 23),
    st.integers(1, 3),
    DATA.filter(bool),
)


@SLOWLY
@given(st.lists(RECORDS, max_size=6), st.booleans())
def test_records_end_where_dpkt_ends_them(records: list[bytes], client: bool) -> None:
    stream = b"".join(records)
    for length in (len(stream), max(0, len(stream) - 1)):
        found, end = dpkt.tls_multi_factory(stream[:length])
        *messages, rest = framing.tls_records().split(stream[:length], client=client)
        assert messages == [bytes(record) for record in found] == records[: len(found)]
        assert rest == stream[end:length]


@SLOWLY
@given(st.lists(DATA.filter(lambda data: data[:1] not in (b"", b"\xff")), min_size=1, max_size=6))
def test_packets_end_where_pymysql_ends_them(payloads: list[bytes]) -> None:
    packets = [struct.pack("<I", len(data) | number << 24) + data for number, data in enumerate(payloads)]
    stream = b"".join(packets)
    connection = pymysql.Connection(defer_connect=True, ssl_disabled=True)  # the authorities take their time to be read
    connection._rfile, connection._current_timeout = io.BytesIO(stream), connection._read_timeout
    connection._next_seq_id = 0
    found, start = list[bytes](), 0
    for data in payloads:
        assert connection._read_packet().get_all_data() == data
        end = connection._rfile.tell()
        found.append(stream[start:end])
        start = end
    assert cut(framing.mysql(), stream, client=False) == found == packets


@SLOWLY
@given(
    st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 255), st.binary(min_size=2, max_size=250)), max_size=6)
)
def test_requests_end_where_pymodbus_ends_them(requests: list[tuple[int, int, bytes]]) -> None:
    framer = pymodbus.FramerSocket(pdu.DecodePDU(is_server=True))
    messages: list[bytes] = [framer.encode(data, unit, number) for number, unit, data in requests]
    stream = b"".join(messages)
    waiting = bytearray()

    def is_whole_behind(byte: bytes) -> bool:
        waiting.extend(byte)
        used, *_ = framer.decode(bytes(waiting))
        del waiting[:used]
        return bool(used)

    for client in (True, False):
        assert cut(framing.modbus(), stream, client=client) == list(bytewise(stream, is_whole_behind)) == messages
