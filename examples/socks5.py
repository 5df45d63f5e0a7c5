"""Let clients say where they go: an entry for SOCKS5, without authentication.

    python examples/socks5.py 1080

Then `curl --socks5-hostname 127.0.0.1:1080 http://example.com/`. It leads to all that this machine can reach.
"""

import sys
from ipaddress import ip_address

from interpose import Callbacks, Connection, Forward, InterposeError, TheServer


async def on_accept(conn: Connection) -> Forward | bool:
    """Read the greeting and the request (RFC 1928)."""
    try:
        read = conn.client.read_exactly
        await read((await read(2))[1])
        conn.client.send(b"\5\0")
        version, command, _, kind = await read(4)
        name, port = await read({1: 4, 4: 16}.get(kind) or (await read(1))[0]), int.from_bytes(await read(2))
        return version == 5 and command == 1 and Forward(name.decode() if kind == 3 else str(ip_address(name)), port)
    except (InterposeError, ValueError):
        return False


def on_connect(conn: Connection) -> None:
    """Say that the way is open, before a byte of the upstream's."""
    conn.client.send(b"\5\0\0\1" + bytes(6))


if len(sys.argv) != 2:
    sys.exit(__doc__)
server = TheServer(sys.argv[1], on_accept=on_accept, on_connect=on_connect, callbacks=Callbacks(callback_timeout=10))
print(server, flush=True)
try:
    server.main_loop()
except KeyboardInterrupt:
    sys.exit("Ctrl-C: everything is closed")
