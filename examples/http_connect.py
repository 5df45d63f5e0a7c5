"""Let clients say where they go: an entry for HTTP's CONNECT.

    python examples/http_connect.py 3128

Then `curl --proxy http://127.0.0.1:3128 https://example.com/`. It leads wherever this machine can go: keep it on the
loopback.
"""

import sys

from interpose import Connection, Forward, InterposeError, TheServer


async def on_accept(conn: Connection) -> Forward | bool:
    """Read the head of the request; what comes behind it is relayed."""
    try:
        head = await conn.client.read_until(b"\r\n\r\n", limit=16384, timeout=10)
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if method == "CONNECT":
            return Forward(target)
        conn.client.send(b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 0\r\n\r\n")
    except (InterposeError, ValueError):
        conn.client.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    return False


def on_connect(conn: Connection) -> None:
    """Say that the way is open, before a byte of the upstream's."""
    conn.client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")


if len(sys.argv) != 2:
    sys.exit(__doc__)
server = TheServer(sys.argv[1], on_accept=on_accept, on_connect=on_connect)
print(server, flush=True)
try:
    server.main_loop()
except KeyboardInterrupt:
    sys.exit("Ctrl-C: everything is closed")
