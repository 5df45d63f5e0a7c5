"""Real programs, recorded with their servers and played without them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from interpose import framing, replay
from interpose.replay import Recording
from interpose.testing import Proxy
from support.peers import free_port
from support.processes import Child, program, run

pytestmark = pytest.mark.xdist_group("redis")


@pytest.fixture
def redis_port(tmp_path: Path) -> int:
    """The port of a server with nothing in it, which ends with the test."""
    return free_port()


def redis_server(port: int, folder: Path) -> Child:
    argv = [program("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
    child = Child([*argv, "--save", "", "--appendonly", "no", "--dir", str(folder)], folder)
    child.wait_for("Ready to accept connections")
    return child


def by_cli(host: str, port: int, folder: Path) -> list[str]:
    """The answers to a session of redis-cli."""
    cli = [program("redis-cli", "redis-tools"), "-h", host, "-p", str(port)]
    words = [["set", "name", "Ada"], ["get", "name"], ["incr", "visits"], ["lrange", "none", "0", "-1"]]
    return [run([*cli, *one], folder, seconds=20).decode() for one in words]


def by_library(host: str, port: int, folder: Path) -> list[str]:
    """The answers to a session of redis-py."""
    redis = pytest.importorskip("redis")
    with redis.Redis(host, port, socket_timeout=10) as client:
        pipeline = client.pipeline()
        for number in range(20):
            pipeline.rpush("list", f"item {number}", bytes(range(256)))
        found = [client.set("name", "Ada"), client.get("name"), pipeline.execute(), client.lrange("list", 0, -1)]
        client.blpop("list", timeout=1)
        found.append(client.llen("list"))
        return [repr(one) for one in found]


@pytest.mark.parametrize("session", [by_cli, by_library])
def test_a_session_with_redis_runs_without_redis(
    session: Callable[[str, int, Path], list[str]], redis_port: int, tmp_path: Path
) -> None:
    path = tmp_path / "session.jsonl"
    with redis_server(redis_port, tmp_path), Proxy(f"127.0.0.1:{redis_port}") as proxy:
        proxy.record(path, framing=framing.resp())
        expected = session(proxy.host, proxy.port, tmp_path)
        proxy.wait_closed()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", redis_port), 10)
    for match in ("order", "bytes"):
        with replay.serve(path, match=match) as server:
            assert session(server.host, server.port, tmp_path) == expected
    assert Recording.load(path).framing == "resp"
    with redis_server(redis_port, tmp_path):
        assert replay.play(path, f"127.0.0.1:{redis_port}") == len(Recording.load(path))


def test_downloads_of_curl_run_without_the_web_server(tmp_path: Path) -> None:
    curl, folder, path = program("curl", "curl"), tmp_path / "www", tmp_path / "session.jsonl"
    folder.mkdir()
    (folder / "page.txt").write_text("a page\n" * 20_000)
    port = free_port()

    def downloaded(host: str, port: int) -> list[bytes]:
        return [
            run([curl, "-s", "--max-time", "10", f"http://{host}:{port}/{name}"], tmp_path, seconds=20)
            for name in ("page.txt", "none")
        ]

    argv = [sys.executable, "-u", "-m", "http.server", str(port), "-b", "127.0.0.1", "-d", str(folder)]
    with Child(argv, tmp_path) as server:
        server.wait_for("Serving HTTP")
        with Proxy(f"127.0.0.1:{port}") as proxy, proxy.record(path):
            expected = downloaded(proxy.host, proxy.port)
            proxy.wait_closed()
    assert len(expected[0]) == 140_000
    assert b"404" in expected[1]
    # The port of the proxy is in what curl sends.
    with replay.serve(path, mask=rb"Host: \S+") as played:
        assert downloaded(played.host, played.port) == expected
