"""Slow each connection down to some bytes a second, each way.

interpose 9090 web:80 --script throttle --set rate=16384
"""

import asyncio
import time
from typing import Any

from interpose import Side

options: dict[str, Any] = {"rate": 65536}


async def on_recv(side: Side, data: bytes) -> None:
    """Wait until the bytes before this chunk have had their time, and pass it on."""
    due: dict[bool, float] = side.connection.state or {}
    side.connection.state = due
    now = time.monotonic()
    begin = max(now, due.get(side.is_client, now))
    due[side.is_client] = begin + len(data) / options["rate"]
    await asyncio.sleep(due[side.is_client] - now)
