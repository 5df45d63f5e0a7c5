"""Send clients of TLS to different servers, by the name they ask for (SNI). Nothing is decrypted.

    python examples/route_by_name.py 8443 web.example.com:443 shop.test=10.0.0.7:443 news.test=10.0.0.8:443

Names that are not listed go to the server that is named first.
"""

import sys

from interpose import MORE, Connection, More, TheServer, framing

number = int.from_bytes  # of the network's byte order, which is the default


def server_name(hello: bytes) -> str:
    """Return the name in a ClientHello, or an empty text."""
    rest = hello[38:]  # behind its type, length, version and random
    for width in (1, 2, 1):  # session, ciphers, compressions
        rest = rest[width + number(rest[:width]) :]
    while rest[2:] and number(rest[2:4]) != 0:  # behind the length of all extensions, and then of one
        rest = rest[4 + number(rest[4:6]) :]
    return rest[11 : 6 + number(rest[4:6])].decode("ascii", "replace")


def on_preread(_: Connection, data: bytes) -> str | More | None:
    """Wait for the whole ClientHello, which may be in several records."""
    hello = b"".join(record[5:] for record in framing.tls_records().split(data)[:-1])
    return MORE if len(hello) < 4 + number(hello[1:4]) else targets.get(server_name(hello))


if len(sys.argv) < 3:
    sys.exit(__doc__)
targets = dict(argument.split("=", 1) for argument in sys.argv[3:])
server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_preread=on_preread)
print(server, flush=True)
try:
    server.main_loop()
except KeyboardInterrupt:
    sys.exit("Ctrl-C: everything is closed")
