"""Print the first bytes of each direction; the rest is relayed natively.

interpose 9090 db:5432 --script first-bytes --set most=64
"""

from typing import Any

from interpose import Side

options: dict[str, Any] = {"most": 32}


def on_recv(side: Side, data: bytes) -> None:
    """Print one chunk of a side, and look at no more of it."""
    print(f"{side.connection.id} {side!r}: {data[: options['most']]!r}")
    side.passthrough()
