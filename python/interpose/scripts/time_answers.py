"""Print how long the upstream takes to answer, connection by connection.

    interpose 9090 db:5432 --script time-answers --set slow=100ms

Only answers that take `slow` or longer are printed. An answer begins with the first bytes after the client has sent
something.
"""

import time
from typing import Any

from interpose import Side

options: dict[str, Any] = {"slow": 0.0}


def on_client_recv(side: Side, data: bytes) -> None:
    """Note when the client has asked."""
    del data
    side.connection.state = time.monotonic()


def on_upstream_recv(side: Side, data: bytes) -> None:
    """Print the time since then, once for each answer."""
    asked, side.connection.state = side.connection.state, None
    if asked is not None and (taken := time.monotonic() - asked) >= options["slow"]:
        print(f"{side.connection.id} {taken * 1000:.1f} ms, {len(data)} bytes at once")
