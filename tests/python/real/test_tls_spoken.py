"""TLS that is spoken here, with clients and with servers: other programs at the other end of it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose._addresses import address_text
from support.certificates import Certificate, self_signed, signed
from support.peers import Address, Echo, connect, ending, free_port, read_exactly
from support.processes import Child, program, run

from .conftest import Through

pytestmark = pytest.mark.xdist_group("tls_spoken")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The certificate of a listener, or of a server."""
    return self_signed(tmp_path_factory.mktemp("own"))


@pytest.fixture
def upstream() -> Iterator[str]:
    """A server without TLS that sends back what it gets."""
    with Echo() as echo:
        yield address_text(echo.address)


def tls_of(own: Certificate, *more: str) -> list[str]:
    """The options of a listener that speaks TLS."""
    return ["--tls-cert", str(own.cert), "--tls-key", str(own.key), *more]


def asking(address: Address, own: Certificate, *more: str) -> list[str]:
    """OpenSSL's client, which verifies what it is shown."""
    host, port = address
    to = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", "localhost"]
    return [*to, "-CAfile", str(own.cert), "-verify_return_error", *more]


def said_by(argv: list[str], folder: Path, end: str = "a line$") -> str:
    """What OpenSSL's client says of a conversation of one line. It ends in order."""
    # The client writes what it gets past the buffer of what it says itself: maybe into the middle of a line of that.
    with Child(argv, folder, stdin=subprocess.PIPE) as client:
        words = client.popen.stdin
        assert words is not None
        words.write(b"a line\n")
        words.flush()
        client.wait_for(end)
        words.close()
        assert client.wait(10) == 0, client.output()
        return client.output()


@pytest.mark.parametrize(("version", "name"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_s_client_with_alpn_and_a_session_that_is_continued(
    own: Certificate, upstream: str, through: Through, tmp_path: Path, version: str, name: str
) -> None:
    proxy = through(upstream, *tls_of(own, "--tls-alpn", "h2", "--tls-alpn", "echo"))
    session = tmp_path / "session"
    first = asking(proxy.address, own, version, "-alpn", "echo", "-sess_out", str(session))
    said = said_by(first, tmp_path)
    assert f"New, {name}" in said
    assert "ALPN protocol: echo" in said
    assert "Verify return code: 0 (ok)" in said
    assert "Secure Renegotiation IS supported" in said or name == "TLSv1.3"
    said = said_by(asking(proxy.address, own, version, "-alpn", "echo", "-sess_in", str(session)), tmp_path)
    assert f"Reused, {name}" in said


def test_s_client_shows_a_certificate_where_one_is_demanded(
    own: Certificate, upstream: str, through: Through, tmp_path: Path
) -> None:
    issuer = self_signed(tmp_path, "issuer", more="")
    mine = signed(tmp_path, "client", issuer)
    proxy = through(upstream, *tls_of(own, "--tls-client-ca", str(issuer.cert)))
    shown = ["-cert", str(mine.cert), "-key", str(mine.key)]
    assert "Verify return code: 0" in said_by(asking(proxy.address, own, *shown), tmp_path)
    with Child(asking(proxy.address, own, "-ign_eof"), tmp_path, stdin=subprocess.PIPE) as stranger:
        assert stranger.wait(10) == 1, "refused"
        assert "certificate required" in stranger.output()
    proxy.child.wait_for(r"client_tls_failed.*client_ca demands one; give it one from that issuer")


def test_s_client_cannot_renegotiate(own: Certificate, upstream: str, through: Through, tmp_path: Path) -> None:
    proxy = through(upstream, *tls_of(own))
    with Child(asking(proxy.address, own, "-tls1_2"), tmp_path, stdin=subprocess.PIPE) as client:
        words = client.popen.stdin
        assert words is not None
        client.wait_for("Verify return code")
        words.write(b"R\n")
        words.flush()
        client.wait_for("RENEGOTIATING")
        assert client.wait(10) == 1, client.output()
        assert "no renegotiation" in client.output()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_server_behind_plain_clients(own: Certificate, through: Through, tmp_path: Path, version: str) -> None:
    """OpenSSL's server sends every line back reversed, and the end as its notice of it."""
    argv = [program("openssl", "openssl"), "s_server", "-accept", "127.0.0.1:0", "-rev", version, "-key", str(own.key)]
    with Child([*argv, "-cert", str(own.cert)], tmp_path) as server:
        port = server.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)")[1]
        proxy = through(
            f"tls://127.0.0.1:{port}", "--upstream-ca", str(own.cert), "--upstream-server-name", "localhost"
        )
        for _ in range(2):
            with connect(proxy.address) as client:
                client.sendall(b"drawer\n")
                assert read_exactly(client, 7) == b"reward\n"
                client.shutdown(socket.SHUT_WR)
                assert ending(client) == ("eof", b"")


def test_curl_through_tls_on_one_side_and_then_on_the_other(own: Certificate, through: Through, tmp_path: Path) -> None:
    """A file of 20 MB, by https to the one proxy and by http to another, which speaks TLS with the first."""
    nginx, curl = program("nginx", "nginx-light"), program("curl", "curl")
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(range(256)) * 80_000)
    places = "".join(
        f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr info; events {{}}\n"
        f"http {{ access_log off; {places} server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )
    with Child([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"], tmp_path) as server:
        server.wait_for("start worker|notice|using the")
        first = through(f"127.0.0.1:{port}", "--retry", "5", *tls_of(own, "--tls-alpn", "http/1.1"))
        _, tls_port = first.address
        second = through(f"tls://localhost:{tls_port}", "--upstream-ca", str(own.cert), "--upstream-alpn", "http/1.1")
        urls = [f"https://localhost:{tls_port}/file", f"http://127.0.0.1:{second.address[1]}/file"]
        for url in urls:
            run([curl, "-sSf", "--cacert", str(own.cert), "-o", str(tmp_path / "got"), url], tmp_path, seconds=30)
            assert (tmp_path / "got").read_bytes() == (folder / "file").read_bytes()
        refused = subprocess.run([curl, "-sS", urls[0]], capture_output=True, timeout=30, check=False)
        assert b"self-signed certificate" in refused.stderr or b"self signed certificate" in refused.stderr
        first.child.wait_for("client_tls_failed.*unknown_ca; it does not trust the certificate")
        server.stop()


def test_redis_with_tls_on_the_client_s_side_and_on_the_server_s(
    own: Certificate, through: Through, tmp_path: Path
) -> None:
    cli, port, tls_port = program("redis-cli", "redis-tools"), free_port(), free_port()
    argv = [program("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    argv += ["--tls-port", str(tls_port), "--tls-cert-file", str(own.cert), "--tls-key-file", str(own.key)]
    argv += ["--tls-auth-clients", "yes", "--tls-ca-cert-file", str(own.cert), "--dir", str(tmp_path)]
    with Child(argv, tmp_path) as server:
        server.wait_for("Ready to accept connections")
        first = through(f"127.0.0.1:{port}", *tls_of(own))
        mine = ["--upstream-cert", str(own.cert), "--upstream-key", str(own.key)]
        second = through(f"tls://localhost:{tls_port}", "--upstream-ca", str(own.cert), *mine)
        secure = [
            "--tls",
            "--cacert",
            str(own.cert),
            "--sni",
            "localhost",
            "-h",
            "localhost",
            "-p",
            str(first.address[1]),
        ]
        plain = ["-h", "127.0.0.1", "-p", str(second.address[1])]
        assert run([cli, *secure, "set", "key", "value"], tmp_path) == b"OK\n"
        assert run([cli, *plain, "get", "key"], tmp_path) == b"value\n"
        assert server.stop() == 0


def test_mosquitto_pub_with_a_certificate_authority(own: Certificate, through: Through, tmp_path: Path) -> None:
    publish, port = program("mosquitto_pub", "mosquitto-clients"), free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    with Child([program("mosquitto", "mosquitto"), "-v", "-c", str(config)], tmp_path) as server:
        server.wait_for("running")
        address = through(f"127.0.0.1:{port}", *tls_of(own)).address
        to = ["-h", "localhost", "-p", str(address[1]), "--cafile", str(own.cert), "-t", "topic", "-m", "word"]
        run([publish, *to], tmp_path)
        server.wait_for(r"Received PUBLISH from .*'topic'")
        assert shutil.which("mosquitto_pub")
        server.stop()
