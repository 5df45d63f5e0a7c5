"""TLS that is routed by name and not decrypted: OpenSSL and curl as clients, OpenSSL's server and nginx as servers."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Serve
from interpose import ClientHello, Connection
from support.addresses import address_of
from support.certificates import Certificate, self_signed
from support.deadline import poll
from support.peers import Address, connect, free_port
from support.processes import Child, may_change_user, program, run

from .conftest import Through

pytestmark = pytest.mark.xdist_group("tls_named")

NAMES = ("a.example", "b.example")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: self_signed(folder, name, more="") for name in NAMES}


@pytest.fixture
def servers(certificates: dict[str, Certificate], tmp_path: Path) -> Iterator[dict[str, int]]:
    """The ports of two of OpenSSL's servers, each with the certificate of its name; they answer as web servers do."""
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for name, own in certificates.items():
            argv = [program("openssl", "openssl"), "s_server", "-accept", "127.0.0.1:0", "-www", "-alpn", "http/1.1"]
            argv += ["-cert", str(own.cert), "-key", str(own.key)]
            server = stack.enter_context(Child(argv, tmp_path, name=f"server-{name}"))
            ports[name] = int(server.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)")[1])
        yield ports


def sni(servers: dict[str, int]) -> list[str]:
    return [word for name, port in servers.items() for word in ("--sni", f"{name}=127.0.0.1:{port}")]


def curl(name: str, address: Address, own: Certificate, folder: Path) -> bytes:
    """What curl gets from a server of this name, whose certificate it verifies."""
    to = f"{name}:443:{address[0]}:{address[1]}"
    words = ["-sS", "--max-time", "10", "--cacert", str(own.cert), "--connect-to", to]
    return run([program("curl", "curl"), *words, f"https://{name}/"], folder)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_reaches_the_server_of_its_name(
    servers: dict[str, int], certificates: dict[str, Certificate], through: Through, tmp_path: Path, version: str
) -> None:
    proxy = through("127.0.0.1:1", *sni(servers))
    host, port = proxy.address
    for name, own in certificates.items():
        argv = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", name.upper()]
        argv += ["-CAfile", str(own.cert), "-verify_return_error", "-verify_hostname", name, version]
        with Child(argv, tmp_path, stdin=subprocess.PIPE, name=f"client-{name}") as client:
            client.wait_for("Verify return code: 0")
            assert f"CN = {name}" in client.output()


def test_curl_reaches_the_server_of_its_name(
    servers: dict[str, int], certificates: dict[str, Certificate], through: Through, tmp_path: Path
) -> None:
    proxy = through("127.0.0.1:1", *sni(servers))
    for name, own in certificates.items():
        assert b"Ciphers supported" in curl(name, proxy.address, own, tmp_path)


def test_a_name_without_a_server_is_an_alert_that_openssl_names(
    servers: dict[str, int], through: Through, tmp_path: Path
) -> None:
    proxy = through("127.0.0.1:1", *sni(servers), "--sni-only")
    host, port = proxy.address
    argv = [program("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", "c.example"]
    with Child(argv, tmp_path, stdin=subprocess.PIPE) as client:
        assert client.wait(10) == 1
        assert "unrecognized name" in client.output()
    proxy.child.wait_for(r"unknown_name.*c\.example")


def listens(port: int, server: Child) -> bool:
    assert server.popen.poll() is None, server.output()
    with contextlib.suppress(ConnectionRefusedError), connect(("127.0.0.1", port)):
        return True
    return False


def test_nginx_behind_it_sees_the_name_and_the_protocol(
    certificates: dict[str, Certificate], through: Through, tmp_path: Path
) -> None:
    if os.geteuid() == 0 and not may_change_user():
        pytest.skip("nginx started by root becomes another user, and this root may not")
    own, port = certificates["a.example"], free_port()
    settings = tmp_path / "nginx.conf"
    settings.write_text(f"""
daemon off; master_process off; pid {tmp_path}/nginx.pid; error_log stderr; events {{ }}
http {{
  access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
  fastcgi_temp_path {tmp_path}/fastcgi; uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
  server {{ ssl_protocols TLSv1.3;
    listen 127.0.0.1:{port} ssl http2; ssl_certificate {own.cert}; ssl_certificate_key {own.key};
    location / {{ return 200 "$ssl_server_name $ssl_protocol $server_protocol"; }}
  }}
}}
""")
    nginx = [program("nginx", "nginx-light"), "-p", str(tmp_path), "-c", str(settings), "-e", "stderr"]
    with Child(nginx, tmp_path, name="nginx") as server:
        poll(lambda: listens(port, server), 10, "nginx listens")
        proxy = through("127.0.0.1:1", "--sni", f"*.example=127.0.0.1:{port}")
        assert curl("a.example", proxy.address, own, tmp_path) == b"a.example TLSv1.3 HTTP/2.0"


CLIENTS: dict[str, Callable[[Address], list[str]]] = {
    "openssl": lambda to: ["s_client", "-connect", f"{to[0]}:{to[1]}", "-servername", "a.example", "-alpn", "h2"],
    "curl": lambda to: ["-sk", "--max-time", "5", "--connect-to", f"::{to[0]}:{to[1]}", "https://a.example/"],
}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_fingerprint_of_a_client_is_the_same_behind_a_proxy(
    client: str, servers: dict[str, int], serve: Serve, tmp_path: Path
) -> None:
    seen: list[ClientHello] = []

    def see(_: Connection, hello: ClientHello) -> None:
        seen.append(hello)

    second = serve(("127.0.0.1", servers["a.example"]), on_client_hello=see)
    first = serve(second.address, on_client_hello=see)
    argv = [program(client, client), *CLIENTS[client](address_of(first))]
    subprocess.run(argv, check=False, timeout=20, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0].ja4.startswith("t13d")
    assert len(seen[0].ja4) == 36
