"""Captures of programs that talk, as tshark sees them: what was sent, and nothing wrong."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from interpose import Connection, Side, TheServer, filters
from support.exchanges import wait_until_idle
from support.peers import Served, read_exactly
from support.processes import program, run
from support.tshark import Seen, seen

from .test_framed_mqtt import Mosquitto
from .test_nginx import Nginx
from .test_postgres import cluster
from .test_redis import Redis
from .test_tls import Certificate

pytestmark = pytest.mark.xdist_group("capture")

Talk = Callable[[str, str, Path], None]


@pytest.fixture(autouse=True)
def _tshark() -> None:
    """Skip before a server is started that nobody would stop."""
    program("tshark", "tshark")


def digests(streams: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return sorted((hashlib.sha256(up).hexdigest(), hashlib.sha256(down).hexdigest()) for up, down in streams)


def captured(target: str, folder: Path, talk: Talk) -> Seen:
    """Have a program talk to its server through a capture; tshark must see what callbacks saw."""
    file = folder / "a.pcapng"
    said: dict[int, tuple[bytearray, bytearray]] = {}

    def on_accept(conn: Connection) -> None:
        said[conn.id] = (bytearray(), bytearray())

    def on_recv(side: Side, data: bytes) -> None:
        said[side.connection.id][0 if side.is_client else 1].extend(data)

    # The callbacks change nothing, so one side is all.
    capture = filters.Capture(file, sides="client")
    with TheServer("", 0, target, on_accept=on_accept, on_recv=on_recv, filters=[capture]) as server:
        host, port = server.address
        talk(host, str(port), folder)
        wait_until_idle(server)
    assert capture.missed_events == 0
    found = seen(file)
    assert found.faults == []
    streams = [(one.to_server, one.to_client) for one in found.streams.values()]
    assert digests(streams) == digests([(bytes(up), bytes(down)) for up, down in said.values()])
    assert all("closed: " in one.comments[-1] for one in found.streams.values())
    return found


def test_redis(tmp_path: Path) -> None:
    server = Redis(tmp_path)

    def talk(host: str, port: str, folder: Path) -> None:
        argv = [program("redis-benchmark", "redis-tools"), "-h", host, "-p", port, "-c", "5", "-n", "500", "-P", "16"]
        run([*argv, "--csv", "-t", "set,get,lrange_100"], folder)

    captured(f"127.0.0.1:{server.port}", tmp_path, talk)
    for argv in (["mergecap", "-w", "merged", "a.pcapng", "a.pcapng"], ["editcap", "-F", "pcap", "a.pcapng", "edited"]):
        run([program(argv[0], "tshark"), *argv[1:]], tmp_path)
        assert (tmp_path / ("merged" if argv[0] == "mergecap" else "edited")).stat().st_size > 1000
    assert server.child.stop() == 0


def test_postgres(tmp_path: Path) -> None:
    with cluster(fill=False) as server:

        def talk(host: str, port: str, folder: Path) -> None:
            query = "SELECT g, md5(g::text) FROM generate_series(1, 5000) g"
            run([server.psql, *server.at(host, int(port)), "-XAt", "-d", "postgres", "-c", query], folder)

        captured(server.target_of["tcp"], tmp_path, talk)


def test_http(tmp_path: Path) -> None:
    server = Nginx(tmp_path, size=3_000_000)

    def talk(host: str, port: str, folder: Path) -> None:
        urls = [f"http://{host}:{port}/{name}" for name in ("big", "small7", "missing", "thanks")]
        run([server.curl, "-s", *(word for url in urls for word in ("-o", "/dev/null", url))], folder)

    captured(f"127.0.0.1:{server.port}", tmp_path, talk)
    server.child.kill()


def test_mqtt(tmp_path: Path) -> None:
    server = Mosquitto(tmp_path)

    def talk(host: str, port: str, folder: Path) -> None:
        common = ["-h", host, "-p", port, "-t", "t", "-q", "1"]
        for message in ("first", "second" * 10_000):
            (folder / "message").write_text(message)
            run([program("mosquitto_pub", "mosquitto-clients"), *common, "-r", "-f", "message"], folder)
            got = run([program("mosquitto_sub", "mosquitto-clients"), *common, "-C", "1", "-N"], folder)
            assert got.decode() == message

    captured(f"127.0.0.1:{server.port}", tmp_path, talk)
    assert server.child.stop() == 0


def test_tls_that_is_passed_through(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    context = certificate.server_side(ssl.TLSVersion.TLSv1_3)
    payload = random.Random(4).randbytes(500_000)

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(read_exactly(secure, len(payload)))
            secure.unwrap()

    def talk(host: str, port: str, _: Path) -> None:
        with socket.create_connection((host, int(port))) as plain:
            secure = certificate.client_side().wrap_socket(plain, server_hostname="localhost")
            secure.sendall(payload)
            assert read_exactly(secure, len(payload)) == payload
            secure.unwrap().close()

    with Served(serve) as served:
        captured(f"127.0.0.1:{served.address[1]}", tmp_path, talk)
