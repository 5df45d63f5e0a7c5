"""Send clients of PostgreSQL to different servers, by the database they ask for.

    python examples/route_by_database.py 5433 db.example.com:5432 shop=shop.example.com:5432 news=10.0.0.7:5432

Then `psql -h 127.0.0.1 -p 5433 shop`. Other databases are at the server that is named first. Who was routed is native.
"""

import struct
import sys

from interpose import Callbacks, Connection, InterposeError, TheServer

ENCRYPTIONS = (80877103, 80877104)  # SSLRequest, GSSENCRequest


async def on_accept(conn: Connection) -> str | bool | None:
    """Refuse encryption, which would hide the name, then look at the start-up message, which is relayed."""
    try:
        while (head := struct.unpack("!II", await conn.client.peek(8)))[1] in ENCRYPTIONS:
            await conn.client.read_exactly(8)
            conn.client.send(b"N")
        fields = (await conn.client.peek(min(head[0], 10_000)))[8:].split(b"\0")
    except (InterposeError, struct.error):
        return False
    asked = dict(zip(fields[::2], fields[1::2], strict=False))
    return targets.get(asked.get(b"database", asked.get(b"user", b"")).decode("utf-8", "replace"))


if len(sys.argv) < 3:
    sys.exit(__doc__)
targets = dict(argument.split("=", 1) for argument in sys.argv[3:])
server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_accept=on_accept, callbacks=Callbacks(callback_timeout=10))
print(server, flush=True)
try:
    server.main_loop()
except KeyboardInterrupt:
    sys.exit("Ctrl-C: everything is closed")
