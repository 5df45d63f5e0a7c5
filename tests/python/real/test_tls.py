"""TLS passed through: certificates, alerts and closes are the server's own, and nothing of it is ours to see."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.peers import Served, connect, read_exactly
from support.processes import Child, program, run

from .conftest import Through

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
SIZE = 20_000_000
pytestmark = pytest.mark.xdist_group("tls")


class Certificate:
    """A key and a certificate for localhost, good for a day."""

    def __init__(self, folder: Path) -> None:
        self.openssl = program("openssl", "openssl")
        self.key, self.chain = folder / "key.pem", folder / "chain.pem"
        argv = [self.openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        argv += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        run([*argv, "-keyout", str(self.key), "-out", str(self.chain)], folder)

    def server_side(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        """What the server uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        context.minimum_version = context.maximum_version = version
        return context

    def client_side(self) -> ssl.SSLContext:
        """What a client uses who trusts this certificate only."""
        return ssl.create_default_context(cafile=str(self.chain))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


def give_back(secure: ssl.SSLSocket) -> None:
    """Read SIZE bytes, then send them back: one direction at a time, as one thread can."""
    data = read_exactly(secure, SIZE)
    secure.sendall(data)


def echo_lines(secure: ssl.SSLSocket) -> None:
    """Echo until the client closes."""
    while data := secure.recv(65536):
        secure.sendall(data)


def serving(context: ssl.SSLContext, talk: Callable[[ssl.SSLSocket], None]) -> Served:
    """A TLS server that ends each connection with close_notify."""

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            talk(secure)
            secure.unwrap()

    return Served(serve)


@pytest.fixture(params=list(VERSIONS))
def context(request: pytest.FixtureRequest, certificate: Certificate) -> ssl.SSLContext:
    """The server's settings for each version of TLS."""
    return certificate.server_side(VERSIONS[request.param])


def test_python_client(certificate: Certificate, context: ssl.SSLContext, through: Through) -> None:
    """The handshake verifies the name, 20 MB come back, and the close is the server's own close_notify."""
    payload = random.Random(4).randbytes(SIZE)
    trusting = certificate.client_side()
    with serving(context, give_back) as upstream:
        address = through(f"127.0.0.1:{upstream.address[1]}").address
        # suppress_ragged_eofs=False: an end without close_notify would be an error, not an end of file.
        with trusting.wrap_socket(connect(address), server_hostname="localhost", suppress_ragged_eofs=False) as client:
            client.sendall(payload)
            assert hashlib.sha256(read_exactly(client, SIZE)).digest() == hashlib.sha256(payload).digest()
            client.unwrap().close()


def test_certificate_is_the_servers(certificate: Certificate, context: ssl.SSLContext, through: Through) -> None:
    with serving(context, echo_lines) as upstream:
        address = through(f"127.0.0.1:{upstream.address[1]}").address
        seen = ssl.get_server_certificate(address, ca_certs=str(certificate.chain))
    assert ssl.PEM_cert_to_DER_cert(seen) == ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())


def test_s_client(certificate: Certificate, context: ssl.SSLContext, through: Through, tmp_path: Path) -> None:
    """OpenSSL's own client, which reports what it verified."""
    with serving(context, echo_lines) as upstream:
        host, port = through(f"127.0.0.1:{upstream.address[1]}").address
        argv = [certificate.openssl, "s_client", "-connect", f"{host}:{port}", "-CAfile", str(certificate.chain)]
        argv += ["-servername", "localhost", "-verify_return_error", "-brief"]
        with Child(argv, tmp_path, stdin=subprocess.PIPE) as client:
            # It leaves when its input ends, answered or not, so the input ends after the answer.
            said = client.popen.stdin
            assert said is not None
            said.write(b"one line\nanother line\n")
            said.flush()
            client.wait_for("^another line$")
            said.close()
            assert client.wait(10) == 0
            assert "Verification: OK" in client.output()


def test_s_server(certificate: Certificate, through: Through, tmp_path: Path) -> None:
    """OpenSSL's own server, which sends every line back reversed."""
    argv = [certificate.openssl, "s_server", "-accept", "127.0.0.1:0", "-rev", "-key", str(certificate.key)]
    with Child([*argv, "-cert", str(certificate.chain)], tmp_path) as server:
        port = server.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)")[1]
        address = through(f"127.0.0.1:{port}").address
        with certificate.client_side().wrap_socket(connect(address), server_hostname="localhost") as client:
            client.sendall(b"drawer\n")
            assert client.recv(100) == b"reward\n"


def test_alert_of_the_client_reaches_the_server(certificate: Certificate, through: Through) -> None:
    """A client that does not trust the certificate says so, and the server hears why."""
    heard: list[str] = []
    context = certificate.server_side(ssl.TLSVersion.TLSv1_2)
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        try:
            context.wrap_socket(sock, server_side=True)
        except ssl.SSLError as error:
            heard.append(error.reason or "")
        finally:
            done.set()

    with Served(serve) as served:
        address = through(f"127.0.0.1:{served.address[1]}").address
        with connect(address) as sock, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        assert done.wait(5.0)
    assert heard == ["TLSV1_ALERT_UNKNOWN_CA"]
