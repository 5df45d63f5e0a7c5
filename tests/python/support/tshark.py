"""Captures as tshark sees them: the streams of their connections, and all that it finds wrong."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .processes import program, run

# Fields of one packet. The last ones are empty in a packet in which nothing is wrong.
_FIELDS = ("tcp.stream", "tcp.srcport", "tcp.dstport", "tcp.flags.syn", "tcp.payload", "frame.comment")
_FAULTS = (
    "_ws.malformed",
    "tcp.analysis.retransmission",
    "tcp.analysis.lost_segment",
    "tcp.analysis.ack_lost_segment",
    "tcp.analysis.out_of_order",
    "tcp.analysis.duplicate_ack",
    "tcp.analysis.window_full",
)
_CHECKS = ("tcp.checksum.status", "ip.checksum.status")
GOOD = "1"


@dataclass(slots=True)
class Stream:
    """A connection: the bytes by the port that has sent them, and the comments of its packets."""

    client: int = 0
    sent: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    comments: list[str] = field(default_factory=list[str])

    @property
    def to_server(self) -> bytes:
        """The bytes of the client."""
        return bytes(self.sent[self.client])

    @property
    def to_client(self) -> bytes:
        """The bytes of the server."""
        return b"".join(bytes(sent) for port, sent in self.sent.items() if port != self.client)


@dataclass(slots=True)
class Seen:
    """A file: its connections by number, and what is wrong with its packets."""

    streams: dict[int, Stream] = field(default_factory=lambda: defaultdict(Stream))
    faults: list[str] = field(default_factory=list[str])


def seen(file: Path) -> Seen:
    """Return what tshark sees in a file, with all checksums checked."""
    argv = [program("tshark", "tshark"), "-r", str(file), "-T", "fields", "-E", "separator=|", "-E", "aggregator= "]
    argv += [word for name in ("tcp.check_checksum", "ip.check_checksum") for word in ("-o", f"{name}:TRUE")]
    argv += [word for name in (*_FIELDS, *_FAULTS, *_CHECKS) for word in ("-e", name)]
    found = Seen()
    for number, line in enumerate(run(argv, file.parent).decode().splitlines(), 1):
        cells = line.split("|")
        stream, source, destination, syn, payload, comment = cells[: len(_FIELDS)]
        faults = dict(zip((*_FAULTS, *_CHECKS), cells[len(_FIELDS) :], strict=True))
        wrong = {name: text for name, text in faults.items() if text and not (name in _CHECKS and text == GOOD)}
        if wrong or faults["tcp.checksum.status"] != GOOD:
            found.faults.append(f"packet {number}: {wrong}")
        one = found.streams[int(stream)]
        if not one.client:
            one.client = int(source if syn in ("1", "True") else destination)
        one.sent[int(source)] += bytes.fromhex(payload.replace(":", ""))
        one.comments += [comment] if comment else []
    return found
