"""Put another name into the Host header of every HTTP/1.1 request.

    python examples/rewrite_host.py 8080 web.example.com:80 web.example.com

Then http://127.0.0.1:8080/ shows the site that the server keeps for web.example.com. Requests are followed through
their bodies, so each one on a connection is rewritten, wherever the borders of the chunks are. What the server
answers is relayed natively.
"""

import re
import sys

from interpose import Connection, Side, TheServer

MOST_HEAD = 64 * 1024
HOST = re.compile(rb"(?im)^host:[^\r\n]*")
LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d+)[ \t]*\r?$")
CHUNKED = re.compile(rb"(?im)^transfer-encoding:[^\r\n]*chunked")
UPGRADE = re.compile(rb"(?im)^upgrade:")


class Requests:
    """The requests of one connection: heads are kept back until they are whole, bodies are not."""

    def __init__(self, host: bytes) -> None:
        """Begin before the first request."""
        self.host = host
        self.waiting = b""
        self.body = 0  # bytes of it that are still to come
        self.next = "head"  # after that: a head, or the line before a chunk, or one of the trailer
        self.over = False  # the client asks for another protocol

    def feed(self, data: bytes) -> bytes:
        """Take what came; return what may go on."""
        self.waiting += data
        ready: list[bytes] = []
        while self.waiting and (piece := self.next_piece()):
            ready.append(piece)
        return b"".join(ready)

    def next_piece(self) -> bytes:
        """Return the next that is whole, or nothing."""
        if self.body or self.over:
            size = self.body or len(self.waiting)
            piece, self.waiting = self.waiting[:size], self.waiting[size:]
            self.body = max(0, self.body - len(piece))
            return piece
        piece, found, rest = self.waiting.partition(b"\r\n\r\n" if self.next == "head" else b"\r\n")
        if not found:
            if len(self.waiting) > MOST_HEAD:
                raise ValueError(f"a head of more than {MOST_HEAD} bytes")
            return b""
        self.waiting = rest
        if self.next == "head":
            return self.head(piece + found)
        self.line(piece)
        return piece + found

    def head(self, head: bytes) -> bytes:
        """See what follows the head; return it with the other name."""
        self.over = bool(UPGRADE.search(head))
        if CHUNKED.search(head):
            self.next = "chunk"
        elif length := LENGTH.search(head):
            self.body = int(length[1])
        return HOST.sub(lambda _: b"Host: " + self.host, head, count=1)

    def line(self, line: bytes) -> None:
        """See what follows a line of a body in chunks: the last chunk is empty, and a trailer ends the body."""
        if self.next == "trailer":
            self.next = "trailer" if line else "head"
        elif size := int(line.partition(b";")[0], 16):
            self.body = size + 2  # its own end of line
        else:
            self.next = "trailer"


class HostProxy(TheServer):
    """Rewrites what clients ask."""

    host = b""

    def on_connect(self, conn: Connection) -> None:
        """Every connection has requests of its own."""
        conn.state = Requests(self.host)

    def on_client_recv(self, side: Side, data: bytes) -> bytes:
        """Rewrite the heads that are whole by now."""
        requests: Requests = side.connection.state
        ready = requests.feed(data)
        if requests.over:
            side.passthrough()
        return ready

    def on_eof(self, side: Side) -> bytes | None:
        """A head that was never finished goes on as it is."""
        requests: Requests = side.connection.state
        return requests.waiting if side.is_client else None


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    HostProxy.host = sys.argv[3].encode("ascii")
    server = HostProxy(sys.argv[1], forward_to=sys.argv[2])
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
