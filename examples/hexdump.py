"""Log what both sides say, as a hex dump with a mark for the direction.

    python examples/hexdump.py 9090 smtp.example.com:25

">" is what the client sends, "<" what the upstream sends.
"""

import sys
from collections.abc import Iterator

from interpose import Side, TheServer


def hexdump(data: bytes) -> Iterator[str]:
    """Sixteen bytes a line: where they are, as numbers, and as text where they are that."""
    for start in range(0, len(data), 16):
        line = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        yield f"{start:06x}  {line.hex(' '):<47}  {text}"


def on_recv(side: Side, data: bytes) -> None:
    """Print it. Without an answer the chunk goes on as it came."""
    mark = ">" if side.is_client else "<"
    print(f"{mark} connection {side.connection.id}, {len(data)} bytes from {side.getpeername()}")
    for line in hexdump(data):
        print(mark, line)
    sys.stdout.flush()


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_recv=on_recv)
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
