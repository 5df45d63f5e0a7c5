"""First messages of TLS clients, as Python's own would send them, without a socket."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

UNRECOGNIZED_NAME = bytes((21, 3, 1, 0, 2, 2, 112))
ACCESS_DENIED = bytes((21, 3, 1, 0, 2, 2, 49))


def hello_of(name: str | None, *, alpn: Sequence[str] = (), version: ssl.TLSVersion | None = None) -> bytes:
    """Return the hello of a client that asks for `name`, and offers these protocols and up to this version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version is not None:
        context.maximum_version = version
    said = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return said.read()
