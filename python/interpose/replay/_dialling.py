"""Connecting to a server that may speak, and reset, before the connect returns."""

from __future__ import annotations

import errno
import os
import selectors
import socket
from typing import Any

_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))


def dialled(family: int, name: Any, timeout: float) -> socket.socket:
    """Return a socket that does not block and is connected, or raise OSError.

    `socket.create_connection` would drop what a server has sent that has reset meanwhile.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(name)
        if code in _UNDER_WAY:
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_WRITE)
                if not selector.select(timeout):
                    raise TimeoutError(errno.ETIMEDOUT, f"it has not answered within {timeout:g} s")
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code not in (0, errno.ECONNRESET):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
