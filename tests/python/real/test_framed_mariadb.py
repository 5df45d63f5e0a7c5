"""MariaDB and its client with a callback between them that sees each packet."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from interpose import Relay, framing
from support.payloads import MEBIBYTE
from support.peers import free_port
from support.processes import Child, program, run

from .conftest import Frame

pytestmark = pytest.mark.xdist_group("mariadb")

QUERY = 3
FULL = 0xFF_FFFF  # bytes of a packet that another continues
STATEMENTS = [
    "CREATE TEMPORARY TABLE test.t (a INT, b TEXT)",
    "INSERT INTO test.t SELECT seq, MD5(seq) FROM seq_1_to_500",
    "SELECT * FROM test.t ORDER BY a",
    "SELECT COUNT(*), SUM(a) FROM test.t",
    "SELECT NULL, '', 1.5",
]


class MariaDB:
    """A server with nothing in it."""

    def __init__(self, folder: Path, more: Sequence[str] = ()) -> None:
        self.client = program("mariadb", "mariadb-client-core")
        self.port = free_port()
        server = program("mariadbd", "mariadb-server-core")
        install = program("mariadb-install-db", "mariadb-server-core")
        common = [f"--datadir={folder}/data", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M"]
        if os.geteuid() == 0:
            common.append("--user=root")
        run([install, "--no-defaults", *common, "--auth-root-authentication-method=normal"], folder)
        argv = [server, "--no-defaults", *common, "--bind-address=127.0.0.1", f"--port={self.port}"]
        argv += [f"--socket={folder}/socket", "--max-allowed-packet=64M", "--skip-name-resolve", *more]
        self.child = Child(argv, folder)
        self.child.wait_for("ready for connections", 30)

    def ask(self, host: str, port: str, folder: Path, statements: list[str]) -> bytes:
        """Return what the client prints for some statements."""
        argv = [
            self.client,
            "--no-defaults",
            "-h",
            host,
            "-P",
            port,
            "-u",
            "root",
            "-D",
            "test",
            "-B",
            "-f",
            "--max-allowed-packet=64M",
        ]
        return run([*argv, "-e", ";\n".join(statements)], folder)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path_factory.mktemp("mariadb"))
    try:
        yield server
    finally:
        assert server.child.stop(signal.SIGTERM) == 0


def test_answers_are_equal_to_the_direct_way(mariadb: MariaDB, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{mariadb.port}", framing.mysql())
    direct = mariadb.ask("127.0.0.1", str(mariadb.port), tmp_path, STATEMENTS)
    assert mariadb.ask(watched.host, watched.port, tmp_path, STATEMENTS) == direct
    watched.finished()
    queries = [message[5:].decode() for message in watched.seen(client=True) if message[3:5] == bytes([0, QUERY])]
    assert [query for query in queries if query in STATEMENTS] == STATEMENTS
    for message in watched.seen(client=True) + watched.seen(client=False):
        assert int.from_bytes(message[:3], "little") == len(message) - 4
    rows = [message for message in watched.seen(client=False) if len(message) > 32 and message[-33:-32] == b" "]
    assert len(rows) == 500


def test_a_row_of_several_packets_is_one_message(mariadb: MariaDB, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{mariadb.port}", framing.mysql(), relay=Relay(max_message=32 * MEBIBYTE))
    size = FULL + 1000
    answer = mariadb.ask(watched.host, watched.port, tmp_path, [f"SELECT REPEAT('x', {size}) AS a"])
    assert answer == b"a\n" + b"x" * size + b"\n"
    watched.finished()
    # Two headers, and the length of the text in nine bytes or four.
    (row,) = [message for message in watched.seen(client=False) if len(message) > FULL]
    assert size + 8 < len(row) <= size + 8 + 9
