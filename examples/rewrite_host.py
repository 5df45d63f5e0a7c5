"""Put another name into the Host header of every HTTP/1.1 request.

    python examples/rewrite_host.py 8080 web.example.com:80 web.example.com

Then http://127.0.0.1:8080/ shows the site that the server keeps for web.example.com. Requests come whole, with their
bodies, so each one on a connection is rewritten, wherever the borders of the chunks are. What is no HTTP, or follows an
upgrade to another protocol, passes as it is.
"""

import re
import sys

from interpose import Relay, Side, TheServer, framing

# The lines before it, and the field. A body that comes alone, behind `Expect: 100-continue`, begins otherwise.
HOST = re.compile(rb"(?i)\A(\S+ \S+ HTTP/1\.\d\r\n(?:[^\r\n]+\r\n)*?)host:[^\r\n]*")
RELAY = Relay(max_message=256 * 1024 * 1024, framing_errors="chunk")


def on_client_recv(side: Side, request: bytes) -> bytes | None:
    """Rewrite a request; its Content-Length is that of its body already."""
    return None if side.partial else HOST.sub(lambda head: head[1] + b"Host: " + host, request, count=1)


if len(sys.argv) != 4:
    sys.exit(__doc__)
host = sys.argv[3].encode("ascii")
server = TheServer(
    sys.argv[1], forward_to=sys.argv[2], framing=framing.http1(), relay=RELAY, on_client_recv=on_client_recv
)
print(server, flush=True)
try:
    server.main_loop()
except KeyboardInterrupt:
    sys.exit("Ctrl-C: everything is closed")
