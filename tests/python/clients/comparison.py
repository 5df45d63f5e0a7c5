"""What a client does, beside what the page says of it."""

from __future__ import annotations

from interpose.testing import ProxyFactory

from .page import fits, shown
from .play import Seen, play
from .roster import CLIENTS, Ports
from .trouble import Trouble

# The limits are short, and a machine that has much else to do is late.
PLAYS = 3


def met(client: str, trouble: Trouble, ports: Ports, tcp_proxy: ProxyFactory) -> Seen:
    """Have a client meet a fault, and return what it does."""
    make, serve = CLIENTS[client]
    return play(make, trouble, tcp_proxy(f"127.0.0.1:{ports.of(serve)}", seed=7))


def check(client: str, trouble: Trouble, ports: Ports, tcp_proxy: ProxyFactory, *, timing: bool = True) -> None:
    """Fail where a client does something else than the page says, each time."""
    page = shown(client)[trouble.label]
    all_seen: list[Seen] = []
    for _ in range(PLAYS):
        all_seen.append(met(client, trouble, ports, tcp_proxy))
        if fits(page, all_seen[-1], timing=timing):
            return
    raise AssertionError(f"the page says {page}, and it does {all_seen}")
