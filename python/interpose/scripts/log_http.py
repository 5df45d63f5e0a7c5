"""Print each HTTP request with its answer and the time between the two.

interpose 8080 example.org:80 --script log-http
"""

import time
from collections import deque

from interpose import Connection, Side
from interpose.framing import http1

framing = http1()


def on_connect(conn: Connection) -> None:
    """Make room for requests that have no answer yet."""
    conn.state = deque()


def on_recv(side: Side, data: bytes) -> None:
    """Keep a request, or print it with its answer."""
    line = data.partition(b"\r\n")[0].decode("latin-1")
    asked: deque[tuple[str, float]] = side.connection.state
    if side.partial:
        return
    if side.is_client:
        if line.rpartition(" ")[2].startswith("HTTP/"):
            asked.append((line, time.monotonic()))
    elif asked and not line.startswith("HTTP/1.1 1"):
        request, begin = asked.popleft()
        print(f"{side.connection.id} {request!r} {line!r} {len(data)} bytes {time.monotonic() - begin:.3f} s")
