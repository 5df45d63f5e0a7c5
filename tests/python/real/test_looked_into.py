"""TLS that is looked into: programs that trust the authority of the user, and servers that see nothing of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Serve
from interpose import Tls
from support.certificates import Certificate, self_signed, signed
from support.deadline import poll
from support.peers import Address, connect, free_port
from support.processes import Child, program, run
from support.proxies import ProxyCommand, command

from .conftest import Through

pytestmark = pytest.mark.xdist_group("looked_into")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The certificate of the servers."""
    return self_signed(tmp_path_factory.mktemp("own"))


class Looking:
    """`interpose --intercept` before a server, and the file of the authority that clients trust."""

    def __init__(self, through: Through, own: Certificate, folder: Path) -> None:
        self._through, self._own = through, own
        self.authority = str(folder / "authority.pem")
        (folder / "authority.pem").write_bytes(run([*command(), "ca", "export"], folder))

    def __call__(self, port: int, *options: str) -> ProxyCommand:
        """Start one that shows what it sees."""
        return self._through(f"127.0.0.1:{port}", "--intercept", "--upstream-ca", str(self._own.cert), *options)


@pytest.fixture
def looking(through: Through, own: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looking:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Looking(through, own, tmp_path)


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    """What is ended at the end of the test."""
    with ExitStack() as stack:
        yield stack


def asking(address: Address, authority: str, *more: str) -> list[str]:
    """OpenSSL's client, which verifies what it is shown."""
    host, port = address
    to = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", "localhost"]
    return [*to, "-CAfile", authority, "-verify_return_error", *more]


def said_by(argv: list[str], folder: Path) -> str:
    """What OpenSSL's client says of a conversation of one line, which comes back reversed. It ends in order."""
    with Child(argv, folder, stdin=subprocess.PIPE) as client:
        words = client.popen.stdin
        assert words is not None
        words.write(b"drawer\n")
        words.flush()
        client.wait_for("^reward$")
        words.close()
        assert client.wait(10) == 0, client.output()
        return client.output()


def reversing(keep: ExitStack, own: Certificate, folder: Path, *more: str) -> int:
    """The port of OpenSSL's server, which sends every line back reversed."""
    argv = [program("openssl", "openssl"), "s_server", "-accept", "127.0.0.1:0", "-rev", "-key", str(own.key)]
    server = keep.enter_context(Child([*argv, "-cert", str(own.cert), *more], folder, name="s_server"))
    return int(server.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)")[1])


@pytest.mark.parametrize("client", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("server", ["-tls1_2", "-tls1_3"])
def test_s_client_and_s_server_of_each_version(
    client: str, server: str, own: Certificate, looking: Looking, keep: ExitStack, tmp_path: Path
) -> None:
    """Each side has its own version; the protocol is the server's choice of what the client offers."""
    proxy = looking(reversing(keep, own, tmp_path, server, "-alpn", "other,echo"), "--text")
    said = said_by(asking(proxy.address, looking.authority, client, "-alpn", "echo,other"), tmp_path)
    assert f"New, TLSv1.{client[-1]}" in said
    assert "ALPN protocol: other" in said
    assert "Verify return code: 0 (ok)" in said
    assert re.search(r"issuer=.*interpose of this user", said)
    proxy.child.wait_for("drawer")
    proxy.child.wait_for("reward")


def test_s_server_demands_a_certificate_and_gets_that_of_the_options(
    own: Certificate, looking: Looking, keep: ExitStack, tmp_path: Path
) -> None:
    issuer = self_signed(tmp_path, "issuer", more="")
    mine = signed(tmp_path, "mine", issuer)
    port = reversing(keep, own, tmp_path, "-Verify", "1", "-verify_return_error", "-CAfile", str(issuer.cert))
    proxy = looking(port, "--upstream-cert", str(mine.cert), "--upstream-key", str(mine.key))
    assert "Verify return code: 0 (ok)" in said_by(asking(proxy.address, looking.authority), tmp_path)
    without = looking(port)
    with Child(asking(without.address, looking.authority, "-ign_eof"), tmp_path, stdin=subprocess.PIPE) as refused:
        assert refused.wait(10) != 0 or "closed" in refused.output()
    without.child.wait_for(r"alert certificate_required; it demands a certificate: give cert and key")


def test_a_session_with_s_server_is_continued(
    own: Certificate, through: Through, keep: ExitStack, tmp_path: Path
) -> None:
    """Clients without TLS; the page of OpenSSL's server says whether it has seen the session before."""
    argv = [program("openssl", "openssl"), "s_server", "-accept", "127.0.0.1:0", "-www", "-key", str(own.key)]
    for version in ("1_2", "1_3"):
        server = keep.enter_context(Child([*argv, "-cert", str(own.cert), f"-tls{version}"], tmp_path, name="s_server"))
        port = server.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)")[1]
        proxy = through(f"tls://localhost:{port}", "--upstream-ca", str(own.cert), "--upstream-truncation", "allow")
        for begins in ("New", "Reused"):
            with connect(proxy.address) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                page = b"".join(iter(lambda sock=client: sock.recv(65536), b"")).decode()  # type: ignore[misc]
            assert f"{begins}, TLSv{version.replace('_', '.')}" in page


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr info;
events {{}}
http {{
    access_log off;
    {places}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {own.cert};
        ssl_certificate_key {own.key};
        root {folder};
    }}
}}
"""


def test_curl_and_nginx_by_the_protocol_that_both_speak(
    own: Certificate, looking: Looking, keep: ExitStack, tmp_path: Path
) -> None:
    nginx, curl = program("nginx", "nginx-light"), program("curl", "curl")
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(range(256)) * 8_000)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {folder}/{name}; " for name in names)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, own=own, places=places))
    server = keep.enter_context(
        Child([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"], tmp_path)
    )
    server.wait_for("start worker|notice|using the")
    proxy = looking(port, "--hexdump", "--retry", "5", "--capture", "a.pcapng")
    url = f"https://localhost:{proxy.address[1]}/file"
    for option, spoken in (("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1")):
        argv = [curl, "-sSf", option, "--cacert", looking.authority, "-o", "got", "-w", "%{http_version}", url]
        assert run(argv, tmp_path, seconds=30).decode() == spoken
        assert (tmp_path / "got").read_bytes() == (folder / "file").read_bytes()
    # The bytes of the first line and of HTTP/2's preface, as letters beside their numbers.
    proxy.child.wait_for(r"\|GET /file HTTP/1")
    proxy.child.wait_for(r"\|PRI \* HTTP/2\.0")
    decode = ["-d", f"tcp.port=={proxy.address[1]},http", "-Y", "http.request", "-T", "fields"]
    fields = [program("tshark", "tshark"), "-r", "a.pcapng", *decode, "-e", "http.request.uri"]
    poll(lambda: b"/file" in run(fields, tmp_path), 10, "tshark reads HTTP")
    refused = subprocess.run([curl, "-sS", url], capture_output=True, timeout=30, check=False)
    assert refused.returncode == 60, refused
    proxy.child.wait_for("client_tls_failed.*unknown_ca; it does not trust the certificate.*interpose ca trust")


def test_redis_cli(own: Certificate, looking: Looking, keep: ExitStack, tmp_path: Path) -> None:
    cli, port = program("redis-cli", "redis-tools"), free_port()
    argv = [program("redis-server", "redis-server"), "--port", "0", "--bind", "127.0.0.1", "--save", ""]
    argv += ["--tls-port", str(port), "--tls-cert-file", str(own.cert), "--tls-key-file", str(own.key)]
    argv += ["--tls-auth-clients", "no", "--dir", str(tmp_path)]
    keep.enter_context(Child(argv, tmp_path)).wait_for("Ready to accept connections")
    proxy = looking(port, "--text", "--framing", "resp")
    to = [cli, "--tls", "--cacert", looking.authority, "--sni", "localhost", "-h", "localhost"]
    to += ["-p", str(proxy.address[1])]
    assert run([*to, "set", "key", "value"], tmp_path) == b"OK\n"
    assert run([*to, "get", "key"], tmp_path) == b"value\n"
    proxy.child.wait_for("get")


def test_mosquitto_pub(own: Certificate, looking: Looking, keep: ExitStack, tmp_path: Path) -> None:
    publish, port = program("mosquitto_pub", "mosquitto-clients"), free_port()
    (tmp_path / "config").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\ncertfile {own.cert}\nkeyfile {own.key}\n"
    )
    server = keep.enter_context(Child([program("mosquitto", "mosquitto"), "-v", "-c", "config"], tmp_path))
    server.wait_for("running")
    proxy = looking(port, "--text", "--framing", "mqtt", "--replace", "word=talk")
    to = ["-h", "localhost", "-t", "topic"]
    seen = [*to, "-p", str(proxy.address[1]), "--cafile", looking.authority]
    run([publish, *seen, "-r", "-m", "a word"], tmp_path)
    direct = [program("mosquitto_sub", "mosquitto-clients"), *to, "-p", str(port), "--cafile", str(own.cert)]
    assert run([*direct, "-C", "1", "-W", "10"], tmp_path) == b"a talk\n"
    proxy.child.wait_for("topic")


def test_libpq_with_tls_from_the_first_byte(
    serve: Serve, own: Certificate, looking: Looking, keep: ExitStack, tmp_path: Path
) -> None:
    """PostgreSQL 17 and its psql have it. Here a proxy has the server's part, and psycopg's libpq the client's."""
    import psycopg

    from .test_postgres import cluster

    server = keep.enter_context(cluster(fill=False))
    direct = serve(server.target_of["tcp"], tls=Tls(own.cert, own.key, alpn=["postgresql"]))
    proxy = looking(direct.address[1], "--text")
    to = f"host=localhost port={proxy.address[1]} user=tester dbname=postgres sslmode=verify-full"
    to += f" sslnegotiation=direct sslrootcert={looking.authority}"
    with psycopg.connect(to) as client:
        assert client.execute("SELECT 6 * 7").fetchone() == (42,)
    proxy.child.wait_for(r"SELECT 6 \* 7")


def test_mariadb_with_tls_that_is_passed_through(
    own: Certificate, through: Through, keep: ExitStack, tmp_path: Path
) -> None:
    from .test_framed_mariadb import MariaDB

    server = MariaDB(tmp_path, [f"--ssl-cert={own.cert}", f"--ssl-key={own.key}"])
    keep.enter_context(server.child)
    proxy = through(f"127.0.0.1:{server.port}", "--text", "--output", "seen")
    argv = [server.client, "--no-defaults", "-h", "localhost", "--protocol=tcp", "-P", str(proxy.address[1])]
    argv += ["-u", "root", f"--ssl-ca={own.cert}", "--ssl-verify-server-cert", "-BN"]
    asked = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'SSL_VERSION'"
    assert run([*argv, "-e", asked], tmp_path).startswith(b"TLSv1.")
    poll(lambda: "MariaDB" in (tmp_path / "seen").read_text(), 5, "the greeting is seen")
    assert "SSL_VERSION" not in (tmp_path / "seen").read_text()
