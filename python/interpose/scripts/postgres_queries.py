"""Print the queries that clients send to PostgreSQL.

    interpose 5433 localhost:5432 --script postgres-queries

The client must not ask for TLS: sslmode=disable, or sslmode=prefer and a server without it.
"""

from typing import Any

from interpose import Side
from interpose.framing import postgres

options: dict[str, Any] = {"most": 200}
framing = postgres()


def on_client_recv(side: Side, data: bytes) -> None:
    """Print the text of a Query, or of a Parse, which may be run many times."""
    if side.partial or data[:1] not in (b"Q", b"P"):
        return
    text = data[5:].rstrip(b"\0") if data[:1] == b"Q" else data[5:].split(b"\0")[1]
    print(f"{side.connection.id} {' '.join(text.decode('utf-8', 'replace').split())!r:.{options['most']}}")
