"""Answer every HTTP request with "come back later", without any upstream.

    python examples/maintenance.py 8080 "We are back at noon."

Each connection is answered once and closed.
"""

import sys

from interpose import Connection, Forward, Side, TheServer

MOST_HEAD = 64 * 1024


def response(text: str, with_body: bool) -> bytes:
    """Return the whole answer."""
    body = f"{text}\n".encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Retry-After: 600\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")


class Maintenance(TheServer):
    """Every client gets the same."""

    text = ""

    def on_accept(self, conn: Connection) -> Forward:
        """Connect nowhere."""
        conn.state = b""
        return Forward.NOWHERE

    def on_client_recv(self, side: Side, data: bytes) -> bytes:
        """Answer when the head of the request is whole. Nothing of it goes anywhere."""
        conn = side.connection
        conn.state += data
        if b"\r\n\r\n" in conn.state:
            side.send(response(self.text, with_body=not conn.state.startswith(b"HEAD ")))
            conn.close()
        elif len(conn.state) > MOST_HEAD:
            conn.abort()
        return b""


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    Maintenance.text = sys.argv[2]
    server = Maintenance(sys.argv[1])
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
