"""Keep idle connections to a Redis server alive: PING for the client, which never sees the answer.

    python examples/keep_alive.py 6380 redis.example.com:6379 60

A connection on which nothing was said for 60 seconds gets a PING of ours. It asks for a text that nobody else uses,
so the answer is told from all others wherever it stands in the stream. This is for clients that ask and wait for the
answer; one that stays in MULTI or SUBSCRIBE for that long needs a proxy that follows the protocol.
"""

import secrets
import sys
import threading
import time

from interpose import Connection, ConnectionClosedError, SendTimeoutError, Side, TheServer

TOKEN = secrets.token_hex(16).encode()
PING = b"*2\r\n$4\r\nPING\r\n$32\r\n%b\r\n" % TOKEN
PONG = b"$32\r\n%b\r\n" % TOKEN


class Link:
    """What is known of one connection."""

    def __init__(self) -> None:
        """Begin busy: it has just been opened."""
        self.busy_at = time.monotonic()
        self.awaits_pong = False
        self.held = b""  # may be the beginning of our answer

    def without_pong(self, data: bytes) -> bytes:
        """Return what of `data` is the client's."""
        before, found, after = (self.held + data).partition(PONG)
        if found:
            self.awaits_pong = False
            self.held = b""
            return before + after
        size = next(size for size in range(len(PONG), -1, -1) if before.endswith(PONG[:size]))
        self.held = PONG[:size]
        return before[: len(before) - size]


def on_connect(conn: Connection) -> None:
    """Every connection has its own clock."""
    conn.state = Link()


def on_recv(side: Side, data: bytes) -> bytes | None:
    """Note that something was said, and take our answer out."""
    link: Link = side.connection.state
    if link.awaits_pong and not side.is_client:
        return link.without_pong(data)
    link.busy_at = time.monotonic()
    return None


def keep_alive(server: TheServer, seconds: float, over: threading.Event) -> None:
    """Send PING where nothing was said for `seconds`. Runs in a thread: send() may be called from any."""
    while not over.wait(seconds / 4):
        now = time.monotonic()
        for conn in server.connections:
            link: Link | None = conn.state
            upstream = conn.upstream
            if link is None or upstream is None or link.awaits_pong or now - link.busy_at < seconds:
                continue
            link.busy_at = now
            link.awaits_pong = True
            try:
                upstream.send(PING, timeout=0)
            except (ConnectionClosedError, SendTimeoutError):
                link.awaits_pong = False


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_connect=on_connect, on_recv=on_recv)
    print(server, flush=True)
    over = threading.Event()
    timer = threading.Thread(target=keep_alive, args=(server, float(sys.argv[3]), over))
    timer.start()
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")
    finally:
        over.set()
        timer.join()


if __name__ == "__main__":
    main()
