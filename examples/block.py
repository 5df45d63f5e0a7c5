"""End a connection in order when a client sends what it should not.

    python examples/block.py 15432 db.example.com:5432 "DROP TABLE"

The upstream gets what came before the forbidden bytes, then an end of stream; never the last of those bytes, also when
they come in several pieces. What the upstream answers is relayed natively.
"""

import sys
from functools import partial

from interpose import Connection, Side, TheServer


def check(forbidden: bytes, side: Side, data: bytes) -> bytes | None:
    """Look at a chunk together with the end of what came before it."""
    conn = side.connection
    tail: bytes = conn.state or b""
    seen = tail + data
    start = seen.find(forbidden)
    if start >= 0:
        print(f"{side} sent {forbidden!r}: closed", flush=True)
        conn.close()
        return data[: max(0, start - len(tail))]
    # As much as could be the beginning of it.
    conn.state = seen[max(0, len(seen) - len(forbidden) + 1) :]
    return None


def on_close(conn: Connection) -> None:
    """Say how it ended."""
    print(f"{conn}: {conn.to_upstream.delivered} bytes passed", flush=True)


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 4 or not sys.argv[3]:
        sys.exit(__doc__)
    on_client_recv = partial(check, sys.argv[3].encode())
    server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_client_recv=on_client_recv, on_close=on_close)
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
