"""Redis: its own benchmark, and a mass insert that writes for a long time before it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deadline import poll
from support.peers import free_port
from support.processes import Child, program, run

from .conftest import Through

KEYS = 200_000
pytestmark = pytest.mark.xdist_group("redis")


class Redis:
    """A server with nothing in it, on a TCP port and on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self.cli = program("redis-cli", "redis-tools")
        self.port = free_port()
        self.socket = folder / "redis.sock"
        argv = [program("redis-server", "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        argv += ["--unixsocket", str(self.socket), "--save", "", "--appendonly", "no", "--dir", str(folder)]
        self.folder = folder
        self.child = Child(argv, folder)
        self.child.wait_for("Ready to accept connections")
        poll(self.socket.exists, 5, "the unix socket is there")

    def ask(self, *words: str) -> str:
        """A command on the direct way."""
        return run([self.cli, "-s", str(self.socket), *words], self.folder, seconds=20).decode().strip()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    assert server.child.stop() == 0


@pytest.fixture(params=["tcp", "unix"])
def target(request: pytest.FixtureRequest, redis: Redis) -> str:
    """The same server by both kinds of address, empty."""
    assert redis.ask("flushall") == "OK"
    return f"127.0.0.1:{redis.port}" if request.param == "tcp" else f"unix:{redis.socket}"


def test_benchmark(redis: Redis, through: Through, target: str, tmp_path: Path) -> None:
    """Every kind of request it knows that matters here, from 50 connections, pipelined."""
    host, port = through(target).address
    argv = [program("redis-benchmark", "redis-tools"), "-h", host, "-p", str(port), "-n", "20000", "-c", "50"]
    output = run([*argv, "-P", "16", "-d", "100", "--csv", "-t", "ping,set,get,lpush,lrange_100"], tmp_path)
    lines = output.decode().splitlines()
    assert "error" not in output.decode().lower()
    done = [line.split(",")[0].strip('"') for line in lines[1:]]
    assert {"PING_INLINE", "SET", "GET", "LPUSH"} <= set(done)
    assert any(name.startswith("LRANGE_100") for name in done)
    assert redis.ask("llen", "mylist") != "0"


def test_one_request_at_a_time(through: Through, target: str, tmp_path: Path) -> None:
    """Without pipelining: small messages, back and forth."""
    host, port = through(target).address
    argv = [program("redis-benchmark", "redis-tools"), "-h", host, "-p", str(port), "-n", "5000", "-c", "20"]
    output = run([*argv, "--csv", "-t", "set,get"], tmp_path).decode()
    assert len(output.splitlines()) == 3
    assert "error" not in output.lower()


def test_pipelined_mass_insert(redis: Redis, through: Through, target: str, tmp_path: Path) -> None:
    """200,000 keys in one breath, replies streaming back while requests stream in."""
    host, port = through(target).address
    script = tmp_path / "insert.resp"
    with script.open("wb") as file:
        for number in range(KEYS):
            key, value = b"key:%06d" % number, b"value-%d" % (number * 7)
            file.write(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value))
    with script.open("rb") as source:
        output = run([redis.cli, "-h", host, "-p", str(port), "--pipe"], tmp_path, stdin=source).decode()
    assert f"errors: 0, replies: {KEYS}" in output
    assert redis.ask("dbsize") == str(KEYS)
    for number in (0, 1, KEYS // 2, KEYS - 1):
        assert redis.ask("get", f"key:{number:06d}") == f"value-{number * 7}"


def test_a_shadow_has_every_key_that_the_first_has(redis: Redis, through: Through, tmp_path: Path) -> None:
    """Nobody listens at the target, so its fallback takes the clients; a second server gets a copy of all they say."""
    assert redis.ask("flushall") == "OK"
    folder = tmp_path / "shadow"
    folder.mkdir()
    shadow = Redis(folder)
    options = ("--fallback", f"127.0.0.1:{redis.port}", "--mirror-to", f"127.0.0.1:{shadow.port}")
    host, port = through(f"127.0.0.1:{free_port()}", *options).address
    argv = [program("redis-benchmark", "redis-tools"), "-h", host, "-p", str(port), "-n", "5000", "-r", "2000"]
    run([*argv, "-c", "10", "-P", "16", "-t", "set,incr,lpush"], tmp_path)
    poll(lambda: shadow.ask("dbsize") == redis.ask("dbsize"), 10, "the shadow has as many keys")
    keys = sorted(redis.ask("keys", "*").splitlines())
    assert len(keys) > 1000
    assert sorted(shadow.ask("keys", "*").splitlines()) == keys
    lists = [key for key in keys if key.startswith("mylist")]
    poll(lambda: [shadow.ask("llen", key) for key in lists] == [redis.ask("llen", key) for key in lists], 10, "lists")
    assert shadow.child.stop() == 0
