"""Put one text in the place of another in what PostgreSQL's clients ask.

    python examples/rewrite_query.py 5433 db.example.com:5432 "LIMIT 100000" "LIMIT 100"

Then `psql -p 5433 -h 127.0.0.1` asks for less. Each message has its length set right. Only simple queries (Q) and
statements that are prepared (P) are changed; behind TLS there is nothing to see.
"""

import sys

from interpose import Side, TheServer, framing


def on_client_recv(side: Side, message: bytes) -> bytes | None:
    """Rewrite a query."""
    return None if side.partial or message[:1] not in b"QP" else message.replace(old, new)


if len(sys.argv) != 5:
    sys.exit(__doc__)
old, new = (text.encode() for text in sys.argv[3:])
server = TheServer(sys.argv[1], forward_to=sys.argv[2], framing=framing.postgres(), on_client_recv=on_client_recv)
print(server, flush=True)
try:
    server.main_loop()
except KeyboardInterrupt:
    sys.exit("Ctrl-C: everything is closed")
