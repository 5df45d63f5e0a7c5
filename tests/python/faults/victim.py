"""The process that the faults are injected into: servers, and answers about them, one JSON line each."""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from interpose import Connection, Forward, InterposeError, Side, TheServer, Timeouts

servers: list[TheServer] = []


def halves(_: Side, data: bytes) -> list[bytes]:
    """Pass a chunk on in two pieces."""
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def start(spec: dict[str, Any]) -> object:
    """Make a server and start it; return its address, or the name of the error."""
    try:
        server = TheServer(
            "",
            0,
            Forward(*spec["forward"], source=spec.get("source"), connect_timeout=2.0),
            timeouts=Timeouts(half_close=5.0),
            on_close=(lambda _: None) if spec.get("hooked") else None,
            on_recv=halves if spec.get("pieces") else None,
        )
        server.start()
    except InterposeError as error:
        return type(error).__name__
    servers.append(server)
    if "unix" in spec:
        lead_through(server, spec["unix"])
    return server.address


def lead_through(first: TheServer, path: str) -> None:
    """Put a second server behind it, on a Unix path, to which a socket of the script's own leads."""
    second = TheServer(f"unix:{path}", forward_to=first.forward_to).start()

    def on_accept(_: Connection) -> socket.socket:
        own = socket.socket(socket.AF_UNIX)
        own.connect(path)
        return own

    first.on_accept = on_accept
    servers.insert(0, second)


def see(_side: object, _data: object) -> None:
    """Pass everything on."""


def look(_: object) -> object:
    """Give a server hooks that look: its connections move to the lane."""
    servers[-1].on_recv = see
    return None


def stats(_: object) -> object:
    """Return the figures of the server made last."""
    now = servers[-1].stats
    return {"active": now.active, "closed": {str(word): count for word, count in now.closed.items() if count}}


COMMANDS: dict[str, Callable[[Any], object]] = {"start": start, "look": look, "stats": stats}


def main() -> None:
    """Answer until there are no more questions."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for line in sys.stdin:
        word, argument = json.loads(line)
        sys.stdout.write(json.dumps(COMMANDS[word](argument)) + "\n")
        sys.stdout.flush()
    for server in servers:
        server.stop(0.0)


if __name__ == "__main__":
    main()
