"""PostgreSQL: pgbench, and 50 MB through COPY out and in, to a TCP port, to a unix socket, and from a unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.certificates import Certificate
from support.deadline import poll
from support.payloads import file_digest, output_digest
from support.peers import free_port
from support.processes import Child, leftovers, may_change_user, program, run

from .conftest import Through

pytestmark = pytest.mark.xdist_group("postgres")

# 500,000 rows of about 105 bytes.
FILL = "CREATE TABLE source AS SELECT g AS id, repeat(md5(g::text), 3) AS text FROM generate_series(1, 500000) g"


def unprivileged() -> str | None:
    """The user that the server runs as; None when it can be this one (root cannot run it)."""
    if os.geteuid() != 0:
        return None
    if not may_change_user():
        pytest.skip("PostgreSQL does not run as root, and this root may not become another user")
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def as_user(name: str) -> list[str]:
    """How to start a program as another user without a process in between that would eat our signals."""
    user = pwd.getpwnam(name)
    who = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [program("setpriv", "util-linux"), *who, "--"]


class Postgres:
    """A throw-away cluster."""

    def __init__(self, folder: Path, fill: bool = True) -> None:
        self.folder = folder
        self.port = free_port()
        self.psql = program("psql", "postgresql-client")
        self.target_of = {
            "tcp": f"127.0.0.1:{self.port}",
            "unix": f"unix:{folder}/.s.PGSQL.{self.port}",
        }
        prefix: list[str] = []
        if user := unprivileged():
            shutil.chown(folder, user)
            prefix = as_user(user)
        data = str(folder / "data")
        initdb = [program("initdb", "postgresql"), "-D", data, "-U", "tester", "-A", "trust", "-N"]
        run([*prefix, *initdb, "-E", "UTF8", "--locale=C"], folder, seconds=60)
        argv = [program("postgres", "postgresql"), "-D", data, "-p", str(self.port), "-k", str(folder)]
        for setting in ("listen_addresses=127.0.0.1", "fsync=off", "max_wal_size=256MB", "autovacuum=off"):
            argv += ["-c", setting]
        self.child = Child([*prefix, *argv], folder, name="postgres")
        self.child.wait_for("ready to accept connections", 30)
        if fill:
            self.execute(FILL)

    def at(self, host: str, port: int) -> list[str]:
        """The arguments by which every client of PostgreSQL is told where to connect."""
        return ["-h", host, "-p", str(port), "-U", "tester"]

    def serve_tls(self, own: Certificate) -> None:
        """Have it speak TLS with clients that ask for it."""
        for name, source in (("server.crt", own.cert), ("server.key", own.key)):
            copy = self.folder / "data" / name
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            if user := unprivileged():
                shutil.chown(copy, user)
        self.execute("ALTER SYSTEM SET ssl = on")
        self.execute("SELECT pg_reload_conf()")
        # The first to see it are new connections.
        poll(lambda: self.execute("SHOW ssl") == "on", 10, "PostgreSQL speaks TLS")

    def execute(self, statement: str) -> str:
        """A statement on the direct way; its output."""
        argv = [self.psql, *self.at("127.0.0.1", self.port), "-XqAt", "-d", "postgres", "-c", statement]
        return run(argv, self.folder).decode().strip()


@contextmanager
def cluster(fill: bool = True) -> Generator[Postgres]:
    """A cluster in a folder of its own, and nothing left of both."""
    # pytest's own folders are closed to other users, and a unix socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="interpose-pg-"))
    try:
        server = Postgres(folder, fill)
        try:
            yield server
        finally:
            # SIGINT is the fast shutdown: it does not wait for clients.
            assert server.child.stop(signal.SIGINT) == 0
        assert not (folder / "data/postmaster.pid").exists(), "the server has ended in good order"
        assert not [line for line in leftovers() if "postgres" in line]
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with cluster() as server:
        yield server


@pytest.fixture(params=["tcp", "unix", "from_unix"])
def way(request: pytest.FixtureRequest, postgres: Postgres, through: Through) -> list[str]:
    """The client arguments for a way through the proxy."""
    if request.param != "from_unix":
        return postgres.at(*through(postgres.target_of[request.param]).address)
    # Clients find a unix socket by its folder and the port in its name.
    folder = Path(tempfile.mkdtemp(prefix="front-", dir=postgres.folder))
    through(postgres.target_of["tcp"], listen=f"unix:{folder}/.s.PGSQL.5432")
    return postgres.at(str(folder), 5432)


def test_pgbench(postgres: Postgres, way: list[str], tmp_path: Path) -> None:
    pgbench = program("pgbench", "postgresql")
    run([pgbench, *way, "-i", "-s", "1", "-q", "postgres"], tmp_path)
    assert postgres.execute("SELECT count(*) FROM pgbench_accounts") == "100000"
    # -C: a connection for each transaction, in the second run.
    for extra, transactions in ((["-M", "prepared"], 100), (["-C"], 10)):
        argv = [pgbench, *way, "-n", "-c", "8", "-j", "2", "-t", str(transactions), *extra, "postgres"]
        output = run(argv, tmp_path).decode()
        expected = 8 * transactions
        assert f"number of transactions actually processed: {expected}/{expected}" in output
    assert postgres.execute("SELECT count(*) FROM pgbench_history") == str(8 * 110)


def test_copy_out_and_in(postgres: Postgres, way: list[str], tmp_path: Path) -> None:
    """50 MB out, the same 50 MB in, and what is then in the table, all with one digest."""
    direct = [postgres.psql, *postgres.at("127.0.0.1", postgres.port), "-Xq", "-d", "postgres", "-c"]
    proxied = [postgres.psql, *way, "-Xq", "-d", "postgres", "-c"]
    rows = tmp_path / "rows"
    run([*proxied, f"\\copy source TO '{rows}'"], tmp_path)
    assert rows.stat().st_size > 50_000_000
    digest = output_digest([*direct, "COPY source TO STDOUT"], tmp_path, seconds=60)
    assert file_digest(rows) == digest

    run([*direct, "DROP TABLE IF EXISTS taken; CREATE UNLOGGED TABLE taken (LIKE source)"], tmp_path)
    run([*proxied, f"\\copy taken FROM '{rows}'"], tmp_path)
    assert output_digest([*direct, "COPY taken TO STDOUT"], tmp_path, seconds=60) == digest
    rows.unlink()


def test_notifications_reach_a_client_that_waits(postgres: Postgres, way: list[str], tmp_path: Path) -> None:
    """Messages that no request of the client asked for: the server speaks when it likes."""
    argv = [postgres.psql, *way, "-XAt", "-d", "postgres"]
    argv += ["-c", "LISTEN news", "-c", "SELECT pg_sleep(0.3)", "-c", "SELECT 'end'"]
    with Child(argv, tmp_path) as client:
        client.wait_for("LISTEN")
        postgres.execute("NOTIFY news, 'it rains'")
        assert client.wait(10) == 0
        assert 'notification "news" with payload "it rains"' in client.output()
