"""Publish the registers that Modbus/TCP clients read from an inverter or a meter, one line of JSON for each answer.

    python examples/modbus.py 5020 inverter.example.com:502 | mosquitto_pub -h mqtt.example.com -t plant -l

The readings are those that somebody asks for anyway: nothing is added to the traffic, and nothing is changed.
"""

import json
import struct
import sys

from interpose import Connection, Relay, Side, TheServer, framing

# In a frame: transaction (2 bytes), protocol (2), length (2), unit, function; then what the function needs.
READS = {3: "holding", 4: "input"}  # by function


def on_connect(conn: Connection) -> None:
    """Every connection has reads that wait for an answer: the first register, by transaction; 65,536 at most."""
    conn.state = {}


def on_client_recv(side: Side, frame: bytes) -> None:
    """Remember what is read."""
    if side.partial:
        leave(side)
    elif frame[7] in READS and len(frame) == 12:
        side.connection.state[frame[:2]] = int.from_bytes(frame[8:10])


def on_upstream_recv(side: Side, frame: bytes) -> None:
    """Publish what was read. A device that refuses answers with another function."""
    if side.partial:
        leave(side)
        return
    first = side.connection.state.pop(frame[:2], None)
    if first is not None and frame[7] in READS and len(frame) == 9 + frame[8]:
        values = [value for (value,) in struct.iter_unpack(">H", frame[9:])]
        print(json.dumps({"unit": frame[6], "kind": READS[frame[7]], "first": first, "values": values}), flush=True)


def leave(side: Side) -> None:
    """Look no more: whoever only looks on must not break what it does not understand."""
    print(f"{side.connection}: this is not Modbus/TCP; it is looked at no more", file=sys.stderr)
    side.connection.passthrough()


def main() -> None:
    """Serve until Ctrl-C. Standard output has readings only."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = TheServer(
        sys.argv[1],
        forward_to=sys.argv[2],
        framing=framing.modbus(),
        relay=Relay(framing_errors="chunk"),
        on_connect=on_connect,
        on_client_recv=on_client_recv,
        on_upstream_recv=on_upstream_recv,
    )
    print(server, file=sys.stderr)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
