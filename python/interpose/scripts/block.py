"""Refuse clients by their address.

    interpose 0.0.0.0:9090 db:5432 --public --script block --set deny=10.0.0.0/8,192.0.2.7
    interpose 0.0.0.0:9090 db:5432 --public --script block --set allow=10.1.0.0/16

A client of a network in `deny` is reset. Where `allow` has some, all others are, too. Clients of a Unix socket have no
address, and pass.
"""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Literal

from interpose import Connection

options: dict[str, Any] = {"deny": (), "allow": ()}

_denied: list[IPv4Network | IPv6Network] = []
_allowed: list[IPv4Network | IPv6Network] = []


def load(options: dict[str, Any]) -> None:
    """Read the networks."""
    _denied[:] = map(ip_network, options["deny"])
    _allowed[:] = map(ip_network, options["allow"])


def on_accept(conn: Connection) -> Literal[False] | None:
    """Refuse a client by returning False."""
    if conn.client.unix_path is not None:
        return None
    host = ip_address(conn.client.getpeername()[0].partition("%")[0])
    is_allowed = not _allowed or any(host in network for network in _allowed)
    if is_allowed and not any(host in network for network in _denied):
        return None
    print(f"refused {host}")
    return False
