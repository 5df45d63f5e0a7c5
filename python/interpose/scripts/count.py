"""Print for each connection how many bytes went each way, and for how long.

    interpose 9090 db:5432 --script count --set chunks=yes

`chunks` counts reads as well. Without it no byte passes Python: the relay is native.
"""

from typing import Any

from interpose import Connection, Side

options: dict[str, Any] = {"chunks": False}


def on_connect(conn: Connection) -> None:
    """Begin to count, or look at no byte."""
    conn.state = {True: 0, False: 0}
    if not options["chunks"]:
        conn.passthrough()


def on_recv(side: Side, data: bytes) -> None:
    """Count a chunk of one side."""
    del data
    side.connection.state[side.is_client] += 1


def on_close(conn: Connection) -> None:
    """Print the counts."""
    chunks = f" in {conn.state[True]} and {conn.state[False]} chunks" if options["chunks"] and conn.state else ""
    up, down = conn.to_upstream.delivered, conn.to_client.delivered
    print(f"{conn.id}: {up} bytes to the upstream, {down} to the client{chunks}, {conn.age:.3f} s, {conn.reason}")
