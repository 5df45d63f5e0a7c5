"""Mail and directories with TLS from the first byte: Dovecot, aiosmtpd and OpenLDAP, with their clients."""

from __future__ import annotations

import imaplib
import shutil
import smtplib
import ssl
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import Intercept, Side, Tls, TlsUpstream
from support.addresses import address_of
from support.certificates import Certificate, self_signed
from support.deadline import poll
from support.peers import connect, free_port
from support.processes import Child, may_change_user, program, run

pytestmark = pytest.mark.xdist_group("mail_and_directory")

DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{own.cert}
ssl_key = <{own.key}
ssl_dh =
disable_plaintext_auth = no
default_internal_user = root
default_login_user = nobody
default_internal_group = root
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 0
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {service.port}
  }}
  inet_listener imaps {{
    port = {service.tls_port}
  }}
}}
service anvil {{
  chroot =
}}
"""

SLAPD = """
include /etc/ldap/schema/core.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_ldif
TLSCertificateFile {own.cert}
TLSCertificateKeyFile {own.key}
TLSCACertificateFile {own.cert}
database ldif
suffix "o=example"
directory {folder}/entries
rootdn "cn=admin,o=example"
rootpw secret
"""

ENTRIES = """
dn: o=example
objectClass: organization
o: example

dn: cn=me,o=example
objectClass: person
cn: me
sn: a word
"""

LETTER = "From: a@a.example\r\nTo: b@b.example\r\nSubject: a letter\r\n\r\nHello,\r\nwords.\r\n"


def is_listening(child: Child, port: int) -> bool:
    """True once somebody listens; an early end of the child fails at once with what it said."""
    assert child.popen.poll() is None, child.output()
    with suppress(ConnectionRefusedError), connect(("127.0.0.1", port)):
        return True
    return False


@dataclass(frozen=True)
class Service:
    """A server with a port for TLS from the first byte, and one for TLS after words without it."""

    port: int
    tls_port: int


@contextmanager
def started(argv: list[str], folder: Path, service: Service) -> Generator[Service]:
    """The server as long as it is needed; it must end when it is asked to."""
    with Child(argv, folder) as child:
        for port in (service.port, service.tls_port):
            poll(lambda port=port: is_listening(child, port), 10, f"{child.name} listens")  # type: ignore[misc]
        yield service
        child.stop()


@contextmanager
def open_folder() -> Generator[Path]:
    """A folder that other users may enter, with a short name: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="interpose-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def dovecot(own: Certificate) -> Generator[Service]:
    """A server of mail, with one user."""
    found = program("dovecot", "dovecot-imapd")
    if not may_change_user():
        pytest.skip("Dovecot becomes other users, and this one may not")
    with open_folder() as folder:
        service = Service(free_port(), free_port())
        (folder / "mail").mkdir()
        (folder / "mail").chmod(0o777)
        (folder / "dovecot.conf").write_text(DOVECOT.format(folder=folder, own=own, service=service))
        with started([found, "-F", "-c", str(folder / "dovecot.conf")], folder, service):
            yield service


@contextmanager
def slapd(own: Certificate, folder: Path) -> Generator[Service]:
    """A directory with two entries."""
    found, add = program("slapd", "slapd"), program("slapadd", "slapd")
    service = Service(free_port(), free_port())
    (folder / "entries").mkdir()
    (folder / "slapd.conf").write_text(SLAPD.format(folder=folder, own=own))
    (folder / "entries.ldif").write_text(ENTRIES.lstrip())
    run([add, "-f", "slapd.conf", "-l", "entries.ldif"], folder)
    where = f"ldap://127.0.0.1:{service.port} ldaps://127.0.0.1:{service.tls_port}"
    with started([found, "-d", "0", "-f", str(folder / "slapd.conf"), "-h", where], folder, service):
        yield service


@contextmanager
def aiosmtpd(folder: Path, *options: str) -> Generator[tuple[Child, int]]:
    """A server that prints the letters it gets, and its port."""
    port = free_port()
    found = program("aiosmtpd", "python3-aiosmtpd")
    with Child([found, "-n", "-l", f"127.0.0.1:{port}", *options], folder, env={"PYTHONUNBUFFERED": "1"}) as child:
        poll(lambda: is_listening(child, port), 10, "aiosmtpd listens")
        yield child, port


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


class Watched:
    """A proxy that looks inside: what it has seen, and who has to be trusted."""

    def __init__(self, serve: Serve, port: int, own: Certificate, folder: Path, **settings: Any) -> None:
        self.looking = Intercept(TlsUpstream(own.cert), folder=folder / "authority", **settings)
        self.seen: dict[bool, bytearray] = {True: bytearray(), False: bytearray()}
        self.has_tls: list[bool] = []
        self._authority = folder / "authority.pem"
        self._authority.write_text(self.looking.certificate)
        self.server = serve(("127.0.0.1", port), tls=self.looking, on_recv=self._on_recv)
        self.port = address_of(self.server)[1]

    @property
    def authority(self) -> str:
        """The file of the certificate that clients trust."""
        return str(self._authority)

    def _on_recv(self, side: Side, data: bytes) -> None:
        self.seen[side.is_client] += data
        self.has_tls.append(side.tls is not None and side.other.tls is not None)

    def context(self) -> ssl.SSLContext:
        """Return a client's context that trusts the authority alone."""
        return ssl.create_default_context(cafile=self.authority)

    def saw(self, from_client: bytes, from_server: bytes) -> None:
        """Fail unless these words were seen without TLS around them."""
        assert from_client in self.seen[True], self.seen
        assert from_server in self.seen[False], self.seen
        assert True in self.has_tls


def test_imaps(mail: Service, own: Certificate, serve: Serve, tmp_path: Path) -> None:
    watched = Watched(serve, mail.tls_port, own, tmp_path)
    with imaplib.IMAP4_SSL("localhost", watched.port, ssl_context=watched.context(), timeout=10) as client:
        client.login("me", "secret")
        assert client.append("INBOX", "", "", LETTER.encode())[0] == "OK"
        client.select("INBOX")
        kind, found = client.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])")
        assert (kind, b"Subject: a letter" in repr(found).encode()) == ("OK", True)
    watched.saw(b"LOGIN me ", b"Logged in")
    watched.saw(b"Subject: a letter", b"Subject: a letter")
    argv = [program("curl", "curl"), "-sSf", "--cacert", watched.authority, "-u", "me:secret"]
    got = run([*argv, f"imaps://localhost:{watched.port}/INBOX;MAILINDEX=1"], tmp_path, seconds=20)
    assert got.decode().split() == LETTER.split()


def test_smtps(own: Certificate, serve: Serve, tmp_path: Path) -> None:
    with aiosmtpd(tmp_path, "--smtpscert", str(own.cert), "--smtpskey", str(own.key)) as (child, port):
        watched = Watched(serve, port, own, tmp_path)
        with smtplib.SMTP_SSL("localhost", watched.port, context=watched.context(), timeout=10) as client:
            client.sendmail("a@a.example", ["b@b.example"], LETTER)
        child.wait_for("Subject: a letter")
        watched.saw(b"TO:<b@b.example>", b"250 OK")
        (tmp_path / "letter").write_text(LETTER.replace("a letter", "another"))
        argv = [program("curl", "curl"), "-sSf", "--cacert", watched.authority, "--mail-from", "a@a.example"]
        argv += ["--mail-rcpt", "b@b.example", "-T", "letter", f"smtps://localhost:{watched.port}/me"]
        run(argv, tmp_path, seconds=20)
        child.wait_for("Subject: another")
        watched.saw(b"Subject: another", b"250 OK")


def asking(port: int, authority: str, scheme: str, *more: str) -> list[str]:
    """OpenLDAP's client. It takes "localhost" for the name of the machine, so it is given the address."""
    argv = [program("ldapsearch", "ldap-utils"), "-LLL", "-x", "-H", f"{scheme}://127.0.0.1:{port}", *more]
    return ["env", f"LDAPTLS_CACERT={authority}", *argv, "-b", "o=example", "cn=me"]


def test_ldaps(directory: Service, own: Certificate, serve: Serve, tmp_path: Path) -> None:
    watched = Watched(serve, directory.tls_port, own, tmp_path)
    assert b"sn: a word" in run(asking(watched.port, watched.authority, "ldaps"), tmp_path, seconds=20)
    watched.saw(b"o=example", b"a word")
    spoken = serve(("127.0.0.1", directory.port), tls=Tls(own.cert, own.key))
    assert b"sn: a word" in run(asking(spoken.address[1], str(own.cert), "ldaps"), tmp_path, seconds=20)
