"""Hold back what the upstream answers, as a slow server or a long line would.

    interpose 9090 db:5432 --script echo-delay --set delay=200ms

Each chunk waits for itself, and its direction with it; other connections do not.
"""

import asyncio
from typing import Any

from interpose import Side

options: dict[str, Any] = {"delay": 0.2}


async def on_upstream_recv(side: Side, data: bytes) -> None:
    """Wait, and pass the chunk on."""
    del side, data
    await asyncio.sleep(options["delay"])
