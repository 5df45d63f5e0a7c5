"""TLS that begins behind plaintext, of programs: what they say under it is seen, and framed."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from conftest import Serve
from interpose import Intercept, Side, TlsUpstream, framing
from support.addresses import address_of
from support.certificates import Certificate, self_signed
from support.processes import program, run

from .test_framed_mariadb import MariaDB
from .test_postgres import Postgres, cluster, unprivileged

pytestmark = pytest.mark.xdist_group("starttls")


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return self_signed(tmp_path)


@pytest.fixture
def looking(tmp_path: Path, certificate: Certificate) -> Intercept:
    return Intercept(TlsUpstream(certificate.cert), starttls=True, folder=tmp_path / "authority")


class Seen:
    """The messages of clients, and if they came under TLS."""

    def __init__(self) -> None:
        self.all: list[tuple[bytes, bool]] = []
        self.partial = 0

    def __call__(self, side: Side, data: bytes) -> None:
        self.all.append((data, side.tls is not None))
        self.partial += side.partial


def with_tls(server: Postgres, certificate: Certificate) -> None:
    """Let a cluster speak TLS."""
    for name, path in (("server.crt", certificate.cert), ("server.key", certificate.key)):
        shutil.copy(path, server.folder / "data" / name)
        (server.folder / "data" / name).chmod(0o600)
        if user := unprivileged():
            shutil.chown(server.folder / "data" / name, user)
    server.execute("ALTER SYSTEM SET ssl = on")
    server.execute("SELECT pg_reload_conf()")
    server.child.wait_for('parameter "ssl" changed to "on"', 10)


def test_psql_checks_whom_it_talks_to_and_is_seen(
    serve: Serve, certificate: Certificate, looking: Intercept, tmp_path: Path
) -> None:
    seen = Seen()
    with cluster(fill=False) as postgres:
        with_tls(postgres, certificate)
        target = f"127.0.0.1:{postgres.port}"
        host, port = address_of(serve(target, tls=looking, on_client_recv=seen, framing=framing.postgres()))
        authority = tmp_path / "authority.pem"
        authority.write_text(looking.certificate)
        for mode in ("require", "verify-full"):
            to = f"host={host} port={port} user=tester dbname=postgres sslmode={mode} sslrootcert={authority}"
            asked = "SELECT ssl, 'a secret' FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert run([program("psql", "postgresql-client"), to, "-XqAt", "-c", asked], tmp_path) == b"t|a secret\n"
    assert [secret for data, secret in seen.all if b"a secret" in data] == [True, True]
    assert [secret for data, secret in seen.all if len(data) == 8 and data[4:6] == b"\x04\xd2"] == [False, False]
    assert seen.partial == 0, "the framing goes on under TLS"


def test_mariadbs_client_checks_whom_it_talks_to_and_is_seen(
    serve: Serve, certificate: Certificate, looking: Intercept, tmp_path: Path
) -> None:
    seen = Seen()
    (tmp_path / "server").mkdir()
    options = (f"--ssl-cert={certificate.cert}", f"--ssl-key={certificate.key}")
    server = MariaDB(tmp_path / "server", options)
    try:
        target = f"127.0.0.1:{server.port}"
        host, port = address_of(serve(target, tls=looking, on_client_recv=seen, framing=framing.mysql()))
        authority = tmp_path / "authority.pem"
        authority.write_text(looking.certificate)
        to = [server.client, "--no-defaults", "-h", host, "-P", str(port), "-u", "root", "-BN"]
        cipher = "FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER'"
        asked = f"SELECT 'a secret', VARIABLE_VALUE != '' {cipher}"
        by = ["--ssl", f"--ssl-ca={authority}", "--ssl-verify-server-cert"]
        assert run([*to, *by, "-e", asked], tmp_path) == b"a secret\t1\n"
    finally:
        assert server.child.stop(signal.SIGTERM) == 0
    assert [secret for data, secret in seen.all if b"a secret" in data] == [True]
    assert seen.partial == 0, "the framing goes on under TLS"
