"""One TLS handshake with a target, to see what is agreed there: as a client of a server would have it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from .._connection import Connection
from .._exceptions import printable
from .._forward import Forward
from .._server import TheServer
from .._tls import TlsInfo
from .trial import Trial

_MOST_SECONDS = 30.0
_MOST_NAMES = 4


def shake_hands(forward: Forward) -> Trial:
    """Connect to the target, shake hands, and close."""
    found: list[TlsInfo] = []
    ended: list[str] = []
    over = threading.Event()

    def on_connect(conn: Connection) -> None:
        if conn.upstream is not None and conn.upstream.tls is not None:
            found.append(conn.upstream.tls)
        conn.close()

    def on_close(conn: Connection) -> None:
        ended.append(conn.error or "")
        over.set()

    with (
        _silence(),
        TheServer("127.0.0.1", 0, forward, on_connect=on_connect, on_close=on_close) as server,
        suppress(OSError),
        _client(server),
    ):
        over.wait(_MOST_SECONDS)
    if found:
        return Trial(True, f"connected, and agreed on {_text_of(found[0])}")
    why = ended[0].partition(": ")[2] if ended and ended[0].startswith("cannot connect") else "".join(ended)
    return Trial(False, printable(why) or "it has not answered; check the address and the firewalls")


@contextmanager
def _client(server: TheServer) -> Generator[None]:
    import socket

    with socket.create_connection(server.address, _MOST_SECONDS):
        yield


@contextmanager
def _silence() -> Generator[None]:
    """Keep the server's own lines out of the result."""
    logger = logging.getLogger("interpose")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _text_of(info: TlsInfo) -> str:
    text = info.version if info.alpn is None else f"{info.version} and {printable(info.alpn)}"
    shown = info.peer_certificate
    if shown is None or shown.ends is None:
        return text
    more = f" and {len(shown.names) - _MOST_NAMES} more" if len(shown.names) > _MOST_NAMES else ""
    names = ", ".join(shown.names[:_MOST_NAMES]) or shown.subject
    return f"{text}; its certificate is for {names}{more}, until {shown.ends:%Y-%m-%d}"
