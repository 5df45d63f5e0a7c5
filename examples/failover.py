"""Spread clients over several upstreams by turns, and leave out one that cannot be reached for a while.

    python examples/failover.py 8080 web1.example.com:80 web2.example.com:80

The client that meets a dead upstream is reset, as it would be without a proxy, and may try again; those that come in
the next five seconds go elsewhere. All is relayed natively.
"""

import sys
import time

from interpose import CloseReason, Connection, Forward, TheServer

PAUSE_SECONDS = 5.0
UNREACHED = {
    CloseReason.REFUSED,
    CloseReason.UNREACHABLE,
    CloseReason.CONNECT_TIMEOUT,
    CloseReason.NAME_NOT_FOUND,
    CloseReason.RESOLVE_FAILED,
    CloseReason.CONNECT_FAILED,
}


class Failover(TheServer):
    """Takes the targets by turns. Callbacks run one at a time, so none of this needs a lock."""

    def __init__(self, listen: str, targets: list[Forward]) -> None:
        """Begin with the first."""
        self.targets = targets
        self.out_until = dict.fromkeys(targets, 0.0)
        super().__init__(listen)

    def on_accept(self, conn: Connection) -> Forward:
        """Return the next target that is not left out; if all are, the one that is for the shortest time."""
        now = time.monotonic()
        target = min(self.targets, key=lambda target: max(now, self.out_until[target]))
        self.targets.remove(target)
        self.targets.append(target)
        conn.state = target
        return target

    def on_close(self, conn: Connection) -> None:
        """Leave out a target that was not reached."""
        if conn.reason in UNREACHED:
            self.out_until[conn.state] = time.monotonic() + PAUSE_SECONDS
            print(f"{conn.state}: {conn.reason}, left out for {PAUSE_SECONDS:g} s", flush=True)


def main() -> None:
    """Serve until Ctrl-C."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    server = Failover(sys.argv[1], [Forward(target, connect_timeout=3) for target in sys.argv[2:]])
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
