"""Reset a connection once the upstream has sent some bytes, to see what its client does then.

interpose 9090 web:80 --script cut --set after=1000
"""

import threading
from typing import Any

from interpose import Connection, Side

options: dict[str, Any] = {"after": 1000}

_MOMENT_SECONDS = 0.05


def on_connect(conn: Connection) -> None:
    """Begin to count."""
    conn.state = 0


def on_upstream_recv(side: Side, data: bytes) -> bytes | None:
    """Pass on what is left of the bytes, then reset both sides."""
    left = options["after"] - side.connection.state
    side.connection.state += len(data)
    if len(data) < left:
        return None
    # A reset drops what is on its way, so the bytes get a moment.
    threading.Timer(_MOMENT_SECONDS, side.connection.abort).start()
    return data[: max(0, left)]
