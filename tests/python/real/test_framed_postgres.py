"""PostgreSQL through a callback that sees each message: psql, COPY and pgbench."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import framing
from support.processes import program, run

from .conftest import Frame, Framed
from .test_postgres import Postgres, cluster

pytestmark = pytest.mark.xdist_group("postgres")

ROWS = 5000
STATEMENTS = [
    "SELECT 1",
    "SELECT repeat('long ', 200000)",
    "SELECT g, md5(g::text) FROM generate_series(1, 1000) g",
    "DO $$ BEGIN RAISE NOTICE 'here'; END $$",
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with cluster(fill=False) as server:
        server.execute(f"CREATE TABLE source AS SELECT g, md5(g::text) FROM generate_series(1, {ROWS}) g")
        yield server


def kinds(watched: Framed, kind: bytes, *, client: bool) -> int:
    """Return the number of messages of a type."""
    return sum(message[:1] == kind for message in watched.seen(client=client))


def test_answers_of_psql_are_equal_to_the_direct_way(postgres: Postgres, framed: Frame, tmp_path: Path) -> None:
    watched = framed(postgres.target_of["tcp"], framing.postgres())
    options = ["-XAt", "-d", "postgres", *(word for statement in STATEMENTS for word in ("-c", statement))]
    direct = run([postgres.psql, *postgres.at("127.0.0.1", postgres.port), *options], tmp_path)
    assert run([postgres.psql, *postgres.at(watched.host, int(watched.port)), *options], tmp_path) == direct
    watched.finished()
    queries = [message[5:-1].decode() for message in watched.seen(client=True) if message[:1] == b"Q"]
    assert queries == STATEMENTS
    # One when the session begins, and one behind each query.
    assert kinds(watched, b"Z", client=False) == 1 + len(STATEMENTS)
    assert kinds(watched, b"D", client=False) == 1 + 1 + 1000
    assert kinds(watched, b"N", client=False) == 1 + 1  # the refused request for encryption, and the notice
    assert kinds(watched, b"X", client=True) == 1


def test_copy_has_a_message_for_each_row(postgres: Postgres, framed: Frame, tmp_path: Path) -> None:
    watched = framed(postgres.target_of["tcp"], framing.postgres())
    psql = [postgres.psql, *postgres.at(watched.host, int(watched.port)), "-Xq", "-d", "postgres", "-c"]
    rows = tmp_path / "rows"
    run([*psql, f"\\copy source TO '{rows}'"], tmp_path)
    assert rows.read_text().rstrip("\n") == postgres.execute("COPY source TO STDOUT")
    postgres.execute("DROP TABLE IF EXISTS taken; CREATE TABLE taken (LIKE source)")
    run([*psql, f"\\copy taken FROM '{rows}'"], tmp_path)
    watched.finished()
    assert postgres.execute("COPY taken TO STDOUT") == postgres.execute("COPY source TO STDOUT")
    assert kinds(watched, b"d", client=False) == ROWS
    sent = b"".join(message[5:] for message in watched.seen(client=True) if message[:1] == b"d")
    assert sent == rows.read_bytes()
    assert kinds(watched, b"c", client=True) == kinds(watched, b"c", client=False) == 1


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_queries_of_pgbench_are_counted_right(protocol: str, postgres: Postgres, framed: Frame, tmp_path: Path) -> None:
    watched = framed(postgres.target_of["tcp"], framing.postgres())
    script = tmp_path / "script"
    script.write_text("SELECT 1;\n")
    at = postgres.at(watched.host, int(watched.port))
    argv = [program("pgbench", "postgresql"), *at, "-n", "-c", "4", "-t", "100", "-M", protocol, "-f", str(script)]
    output = run([*argv, "postgres"], tmp_path).decode()
    watched.finished()
    assert "number of transactions actually processed: 400/400" in output
    asked = {"simple": (b"Q", 400), "extended": (b"P", 400), "prepared": (b"P", 4)}
    kind, count = asked[protocol]
    assert sum(m[:1] == kind and b"SELECT 1" in m for m in watched.seen(client=True)) == count
    if protocol != "simple":
        assert kinds(watched, b"E", client=True) == 400
    assert kinds(watched, b"D", client=False) == 400
