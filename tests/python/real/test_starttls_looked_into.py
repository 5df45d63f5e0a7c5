"""Programs that begin in plain and go over to TLS, looked into: databases, mail, and a directory."""

from __future__ import annotations

import imaplib
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve
from support.certificates import Certificate, self_signed
from support.processes import Child, program, run

from .conftest import Through
from .test_framed_mariadb import MariaDB
from .test_mail_and_directory import LETTER, Service, Watched, aiosmtpd, asking, dovecot, slapd
from .test_postgres import cluster

pytestmark = pytest.mark.xdist_group("starttls")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The certificate of the servers."""
    return self_signed(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def mail(own: Certificate) -> Iterator[Service]:
    with dovecot(own) as service:
        yield service


@pytest.fixture(scope="module")
def directory(own: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with slapd(own, tmp_path_factory.mktemp("slapd")) as service:
        yield service


def test_psql(own: Certificate, serve: Serve, tmp_path: Path) -> None:
    with cluster(fill=False) as server:
        server.serve_tls(own)
        watched = Watched(serve, server.port, own, tmp_path, starttls=True)
        to = f"host=localhost port={watched.port} user=tester dbname=postgres connect_timeout=10"
        secure = f"{to} sslmode=verify-full sslrootcert={watched.authority}"
        asked = "SELECT ssl, 'a word' FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert run([server.psql, secure, "-XAt", "-c", asked], tmp_path) == b"t|a word\n"
        watched.saw(b"pg_stat_ssl", b"a word")
        long = "SELECT repeat('long ', 200000)"
        assert len(run([server.psql, secure, "-XAt", "-c", long], tmp_path)) == 1_000_001
        # One that does not ask for TLS is let through as it is.
        plain = [server.psql, f"{to} sslmode=disable", "-XAt", "-c", asked]
        assert run(plain, tmp_path) == b"f|a word\n"


def test_mariadb(own: Certificate, serve: Serve, tmp_path: Path) -> None:
    server = MariaDB(tmp_path, [f"--ssl-cert={own.cert}", f"--ssl-key={own.key}"])
    with server.child:
        watched = Watched(serve, server.port, own, tmp_path, starttls=True)
        argv = [server.client, "--no-defaults", "-h", "localhost", "--protocol=tcp", "-P", str(watched.port)]
        argv += ["-u", "root", "--ssl", f"--ssl-ca={watched.authority}", "--ssl-verify-server-cert", "-BN"]
        asked = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'SSL_VERSION'"
        assert run([*argv, "-e", asked], tmp_path).startswith(b"TLSv1.")
        watched.saw(b"SSL_VERSION", b"TLSv1.")
        assert run([*argv, "-e", "SELECT 6 * 7; SELECT REPEAT('x', 100000)"], tmp_path).startswith(b"42\nxxx")


def test_smtp(own: Certificate, serve: Serve, tmp_path: Path) -> None:
    with aiosmtpd(tmp_path, "--tlscert", str(own.cert), "--tlskey", str(own.key)) as (child, port):
        watched = Watched(serve, port, own, tmp_path, starttls=True)
        with smtplib.SMTP("localhost", watched.port, timeout=10) as client:
            client.starttls(context=watched.context())
            client.sendmail("a@a.example", ["b@b.example"], LETTER)
        child.wait_for("Subject: a letter")
        watched.saw(b"Subject: a letter", b"250 OK")
        (tmp_path / "letter").write_text(LETTER.replace("a letter", "another"))
        argv = [program("curl", "curl"), "-sSf", "--ssl-reqd", "--cacert", watched.authority]
        argv += ["--mail-from", "a@a.example", "--mail-rcpt", "b@b.example", "-T", "letter"]
        run([*argv, f"smtp://localhost:{watched.port}/me"], tmp_path, seconds=20)
        child.wait_for("Subject: another")
        watched.saw(b"Subject: another", b"250 OK")


def test_imap(mail: Service, own: Certificate, serve: Serve, tmp_path: Path) -> None:
    watched = Watched(serve, mail.port, own, tmp_path, starttls=True)
    with imaplib.IMAP4("localhost", watched.port, timeout=10) as client:
        client.starttls(watched.context())
        client.login("me", "secret")
        assert client.append("INBOX", "", "", LETTER.encode())[0] == "OK"
    watched.saw(b"LOGIN me ", b"Logged in")
    argv = [program("curl", "curl"), "-sSf", "--ssl-reqd", "--cacert", watched.authority, "-u", "me:secret"]
    got = run([*argv, f"imap://localhost:{watched.port}/INBOX;MAILINDEX=1"], tmp_path, seconds=20)
    assert got.decode().split() == LETTER.split()


def test_ldap(directory: Service, own: Certificate, serve: Serve, tmp_path: Path) -> None:
    watched = Watched(serve, directory.port, own, tmp_path, starttls=True)
    found = run(asking(watched.port, watched.authority, "ldap", "-ZZ"), tmp_path, seconds=20)
    assert b"sn: a word" in found
    watched.saw(b"o=example", b"a word")


@pytest.mark.parametrize("protocol", ["imap", "ldap"])
def test_s_client_and_the_command(
    protocol: str,
    request: pytest.FixtureRequest,
    own: Certificate,
    through: Through,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service: Service = request.getfixturevalue({"imap": "mail", "ldap": "directory"}[protocol])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    proxy = through(f"127.0.0.1:{service.port}", "--intercept", "--starttls", "--upstream-ca", str(own.cert), "--text")
    argv = [program("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{proxy.address[1]}"]
    argv += ["-starttls", protocol, "-servername", "localhost", "-CAfile", "data/interpose/ca.pem"]
    with Child([*argv, "-verify_return_error"], tmp_path, stdin=subprocess.PIPE) as client:
        words = client.popen.stdin
        assert words is not None
        client.wait_for(r"Verify return code: 0 \(ok\)")
        if protocol == "imap":
            words.write(b"a1 LOGIN me secret\r\na2 LOGOUT\r\n")
            words.flush()
            client.wait_for("a1 OK")
            proxy.child.wait_for("LOGIN me secret")
        words.close()
        client.wait(10)
