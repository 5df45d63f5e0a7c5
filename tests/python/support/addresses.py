"""Servers that listen on an IP address, as sockets see them."""

from __future__ import annotations

from interpose import TheServer

from .peers import Address, connect, ending


def address_of(server: TheServer) -> Address:
    """Return (host, port); fail for a Unix socket."""
    assert server.unix_path is None
    return server.address


def turned_away(address: Address, seconds: float = 10.0) -> bool:
    """Connect, send nothing, and tell whether a reset came, be it so soon that connecting itself fails."""
    try:
        with connect(address, seconds) as sock:
            return ending(sock) == ("reset", b"")
    except ConnectionResetError:
        return True


def refuses(address: Address) -> bool:
    """Tell whether nobody listens there."""
    try:
        connect(address, 5.0).close()
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        pass  # it was in the backlog when the listener closed
    return False
