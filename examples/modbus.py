"""Publish the registers that Modbus/TCP clients read from an inverter or a meter, one line of JSON for each answer.

    python examples/modbus.py 5020 inverter.example.com:502 | mosquitto_pub -h mqtt.example.com -t plant -l

The readings are those that somebody asks for anyway: nothing is added to the traffic, and nothing is changed.
"""

import json
import struct
import sys
from collections.abc import Iterator

from interpose import Connection, Side, TheServer

HEADER = struct.Struct(">HHHB")  # transaction, protocol, bytes that follow the length, unit
MOST_LENGTH = 254
READS = {3: "holding", 4: "input"}  # by function


class Decoder:
    """Cuts the chunks of one direction into frames."""

    def __init__(self) -> None:
        """Begin between two frames."""
        self.waiting = b""

    def frames(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield `(transaction, unit, function and data)` of the frames that are whole by now."""
        self.waiting += data
        while len(self.waiting) > HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(self.waiting)
            if protocol != 0 or not 2 <= length <= MOST_LENGTH:
                raise ValueError("this is not Modbus/TCP")
            end = HEADER.size - 1 + length
            if len(self.waiting) < end:
                return
            body, self.waiting = self.waiting[HEADER.size : end], self.waiting[end:]
            yield transaction, unit, body


class Link:
    """What is known of one connection: a decoder for each direction, and the reads that wait for an answer."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked, self.answered = Decoder(), Decoder()
        self.reads: dict[int, int] = {}  # the first register, by transaction: 65,536 at most

    def see_requests(self, data: bytes) -> None:
        """Remember what is read."""
        for transaction, _, body in self.asked.frames(data):
            if body[0] in READS and len(body) == 5:
                self.reads[transaction] = int.from_bytes(body[1:3], "big")

    def see_answers(self, data: bytes) -> None:
        """Publish what was read. A device that refuses answers with another function."""
        for transaction, unit, body in self.answered.frames(data):
            first = self.reads.pop(transaction, None)
            if first is not None and body[0] in READS and len(body) == 2 + body[1]:
                values = [value for (value,) in struct.iter_unpack(">H", body[2:])]
                print(json.dumps({"unit": unit, "kind": READS[body[0]], "first": first, "values": values}), flush=True)


def on_connect(conn: Connection) -> None:
    """Every connection has its own decoders."""
    conn.state = Link()


def on_recv(side: Side, data: bytes) -> None:
    """See what is asked and answered. Whoever only looks on must not break what it does not understand."""
    conn = side.connection
    link: Link = conn.state
    try:
        if side.is_client:
            link.see_requests(data)
        else:
            link.see_answers(data)
    except ValueError as error:
        print(f"{conn}: {error}; it is looked at no more", file=sys.stderr)
        conn.passthrough()


def main() -> None:
    """Serve until Ctrl-C. Standard output has readings only."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_connect=on_connect, on_recv=on_recv)
    print(server, file=sys.stderr)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
