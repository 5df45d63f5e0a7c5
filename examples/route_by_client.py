"""Send clients to different upstreams, by the network they come from.

    python examples/route_by_client.py 9090 web.example.com:80 10.0.0.0/8=intern.example.com:80 192.0.2.0/24=

The first network that has the client's address decides; one without a target is refused. The others go to the target
that is named first. Who was routed is relayed natively.
"""

import sys
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from interpose import Connection, Forward, TheServer

Routes = list[tuple[IPv4Network | IPv6Network, Forward | None]]


def route(routes: Routes, conn: Connection) -> Forward | bool | None:
    """Return where this client goes; False refuses it, None is where all the others go."""
    if conn.client.unix_path is not None:
        return None  # the client of a Unix socket has no address
    address = ip_address(conn.client.getpeername()[0])
    for network, target in routes:
        if address in network:
            return target or False
    return None


def routes_of(texts: list[str]) -> Routes:
    """Read NETWORK=TARGET."""
    split = [text.partition("=") for text in texts]
    return [(ip_network(network), Forward(target) if target else None) for network, _, target in split]


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    server = TheServer(sys.argv[1], forward_to=sys.argv[2], on_accept=partial(route, routes_of(sys.argv[3:])))
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
