"""A process with interpose servers in it that a test steers: one JSON line in, one JSON line out.

It runs where the test puts it: under a descriptor limit, under strace, in a network namespace, as another user.
Started as `proxy_process.py PLAN`; the plan says what to do before binding and which servers to start.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

from interpose import (
    Callbacks,
    Connection,
    Forward,
    InterposeError,
    Limits,
    Listen,
    Relay,
    Side,
    TheServer,
    Timeouts,
    Tls,
    TlsUpstream,
    framing,
)

Plan = dict[str, Any]


def answer(value: object) -> None:
    """One line to the test."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def limit_descriptors(soft: int) -> None:
    """Set the soft limit; the hard one stays."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def prepare(plan: Plan) -> None:
    """Become what the plan asks for, before anything native starts."""
    if "soft_limit" in plan:
        limit_descriptors(plan["soft_limit"])
    if "processes" in plan:
        resource.setrlimit(resource.RLIMIT_NPROC, (plan["processes"], plan["processes"]))
    if "uid" in plan:
        os.setgroups([])
        os.setgid(plan["uid"])
        os.setuid(plan["uid"])


def look(side: Side, data: bytes) -> None:
    """See a chunk."""


async def look_later(side: Side, data: bytes) -> None:
    """See a chunk, in a task."""


def decide(conn: Connection, data: bytes) -> None:
    """Leave the decision to the server, once the client has said something."""


LOOKING = {"def": look, "async def": look_later}


def build(spec: Plan) -> TheServer:
    """A bound server."""
    host, port = spec["forward"]
    forward = Forward(
        host,
        port,
        connect_timeout=spec.get("connect_timeout", 10.0),
        source=spec.get("source"),
        tls=TlsUpstream(**spec["tls_upstream"]) if "tls_upstream" in spec else None,
    )
    listen_host, listen_port = spec.get("listen", ["127.0.0.1", 0])
    return TheServer(
        listen_host,
        listen_port,
        forward_to=forward,
        timeouts=Timeouts(**spec.get("timeouts", {})),
        limits=Limits(**spec.get("limits", {})),
        listen=Listen(backlog=spec.get("backlog", 1024), public=True),
        relay=Relay(splice=spec.get("splice", True), coalesce=spec.get("coalesce", True)),
        callbacks=Callbacks(inspect_limit=spec.get("inspect_limit")),
        framing=framing.lines() if spec.get("lines") else None,
        tls=Tls(**spec["tls"]) if "tls" in spec else None,
        on_preread=decide if spec.get("preread") else None,
        on_client_recv=LOOKING.get(spec.get("on_client_recv", "")),
    )


def stats(server: TheServer) -> Plan:
    """The server's counters as plain values."""
    now = server.stats
    return {
        "accepted": now.accepted,
        "active": now.active,
        "closed": {str(reason): count for reason, count in now.closed.items() if count},
        "to_upstream": [now.to_upstream.read, now.to_upstream.delivered, now.to_upstream.undeliverable],
        "to_client": [now.to_client.read, now.to_client.delivered, now.to_client.undeliverable],
        "accept_errors": now.accept_errors,
        "accept_paused": now.accept_paused,
        "max_connections": now.max_connections,
        "max_connections_reached": now.max_connections_reached,
    }


def is_open(descriptor: int) -> bool:
    """Whether the number is in use."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def set_room(_: list[TheServer], room: int) -> int:
    """Leave exactly *room* free descriptors. The limit is on the number, so holes below the highest are filled."""
    limit_descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    highest = max(number for number in map(int, os.listdir("/proc/self/fd")) if is_open(number))
    while (filler := os.open(os.devnull, os.O_RDONLY)) <= highest:
        pass
    os.close(filler)
    limit_descriptors(highest + 1 + room)
    return highest + 1 + room


def lookup(_: list[TheServer], name: str) -> list[str]:
    """The addresses of *name*, in the order in which this process gets them."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, 1, type=socket.SOCK_STREAM)]


def stop(servers: list[TheServer], drain: float) -> None:
    """Stop every server."""
    for server in servers:
        server.stop(drain)


def stats_of(servers: list[TheServer], index: int) -> Plan:
    """The counters of one server."""
    return stats(servers[index])


COMMANDS: dict[str, Callable[[list[TheServer], Any], object]] = {
    "stats": stats_of,
    "room": set_room,
    "lookup": lookup,
    "stop": stop,
}


def main() -> int:
    """Start, then obey until the test closes our standard input."""
    plan: Plan = json.loads(sys.argv[1])
    logging.basicConfig(level=plan.get("level", "INFO"), format="%(levelname)s %(name)s %(message)s")
    try:
        prepare(plan)
        servers = [build(spec).start() for spec in plan["servers"]]
    except InterposeError as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        answer({"error": str(error), "kinds": kinds, "errno": getattr(error, "errno", None)})
        return 1
    answer({"pid": os.getpid(), "addresses": [server.address for server in servers]})
    for line in sys.stdin:
        word, argument = json.loads(line)
        answer(COMMANDS[word](servers, argument))
    for server in servers:
        server.stop(0.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
