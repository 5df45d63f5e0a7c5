"""A misbehaving way to a server, for a `with` block."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._addresses import Address
from ._exceptions import ArgumentTypeError

if TYPE_CHECKING:
    from ._forward import ForwardTo
    from .faults import Fault


@contextmanager
def faulty(forward_to: ForwardTo, *faults: Fault, seed: int | None = None, **settings: Any) -> Generator[Address]:
    """Listen on a free port for the `with` block, forward to `forward_to`, and misbehave as `faults` say.

    `as` gives the address: `(host, port)`, whose text is `host:port`. `seed` fixes what faults draw; other settings are
    those of TheServer. At the end of the block connections are ended. Raises what TheServer raises.

    >>> import socket
    >>> import interpose
    >>> from interpose import faults
    >>> with interpose.faulty("127.0.0.1:7070", faults.Cut(after_bytes=2, direction="to_client")) as address:
    ...     with socket.create_connection(address) as client:
    ...         client.sendall(b"hello")
    ...         client.makefile("rb").read()
    b'he'
    """
    from ._server import TheServer

    if "faults" in settings:
        raise ArgumentTypeError('faults: give them behind the target; write faulty("db:5432", faults.Latency(0.2))')
    settings.setdefault("drain", 0.0)
    server = TheServer("", 0, forward_to, faults=list(faults), seed=seed, **settings)
    with server:
        yield Address(*server.address)
