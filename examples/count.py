"""Count connections and bytes for each client's address, and report them on Ctrl-C.

    python examples/count.py 9090 web.example.com:80

Counting costs nothing: on_close is asked once for each connection, and every byte is relayed natively.
"""

import sys
from dataclasses import dataclass

from interpose import Connection, TheServer


@dataclass
class Account:
    """What one address has used."""

    connections: int = 0
    sent: int = 0
    received: int = 0


class Counter(TheServer):
    """Keeps an account for each address."""

    def __init__(self, listen: str, target: str) -> None:
        """Begin with none."""
        self.accounts: dict[str, Account] = {}
        super().__init__(listen, forward_to=target)

    def on_close(self, conn: Connection) -> None:
        """Add what a connection has used. It is asked for every client, also for those that the end cuts off."""
        host = conn.client.getpeername()[0] if conn.client.unix_path is None else "unix:"
        account = self.accounts.setdefault(host, Account())
        account.connections += 1
        account.sent += conn.to_upstream.read
        account.received += conn.to_client.delivered
        print(f"{host}: {conn.reason}, {account.connections} until now", flush=True)

    def report(self) -> str:
        """Return a line for each address, those with the most bytes first."""
        accounts = sorted(self.accounts.items(), key=lambda item: -(item[1].sent + item[1].received))
        rows = [f"{peer:<40}{one.connections:>12}{one.sent:>16}{one.received:>16}" for peer, one in accounts]
        return "\n".join([f"{'client':<40}{'connections':>12}{'bytes sent':>16}{'received':>16}", *rows])


def main() -> None:
    """Serve until Ctrl-C, then report."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = Counter(sys.argv[1], sys.argv[2])
    print(server, flush=True)
    try:
        server.main_loop()
    except KeyboardInterrupt:
        print(server.report())
        sys.exit("Ctrl-C: everything is closed")


if __name__ == "__main__":
    main()
