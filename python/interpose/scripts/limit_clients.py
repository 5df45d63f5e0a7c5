"""Allow each client address some connections at once, and reset those beyond.

interpose 9090 db:5432 --script limit-clients --set most=20
"""

from collections import Counter
from typing import Any, Literal

from interpose import Connection

options: dict[str, Any] = {"most": 10}

_now: Counter[str] = Counter()


def on_accept(conn: Connection) -> Literal[False] | None:
    """Refuse a client whose address has enough connections."""
    host = conn.client.getpeername()[0]
    if _now[host] >= options["most"]:
        print(f"refused {host}: it has {_now[host]} connections")
        return False
    _now[host] += 1
    conn.state = host
    return None


def on_close(conn: Connection) -> None:
    """Count one less, unless it was refused."""
    if conn.state is None:
        return
    _now[conn.state] -= 1
    if _now[conn.state] <= 0:
        del _now[conn.state]
