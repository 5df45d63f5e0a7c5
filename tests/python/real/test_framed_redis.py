"""Redis through a callback that sees each command and each reply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import framing
from support.processes import program, run

from .conftest import Frame
from .test_redis import Redis

pytestmark = pytest.mark.xdist_group("redis")

REQUESTS, PIPELINE = 800, 16
SCRIPT = b"""SET a 1
INCR a
RPUSH l x y z
LRANGE l 0 -1
HSET h f v
HGETALL h
GET none
NOSUCH
EVAL "return {1, {2, {'deep', false}}}" 0
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    assert server.child.stop() == 0


def test_pipelined_commands_and_replies_are_counted_right(redis: Redis, framed: Frame, tmp_path: Path) -> None:
    """As the server itself counts them."""
    watched = framed(f"127.0.0.1:{redis.port}", framing.resp())
    assert redis.ask("config", "resetstat") == "OK"
    argv = [program("redis-benchmark", "redis-tools"), "-h", watched.host, "-p", watched.port, "-c", "10"]
    argv += ["-n", str(REQUESTS), "-P", str(PIPELINE), "--csv", "-t", "set,get,lpush,lrange_100"]
    output = run(argv, tmp_path).decode()
    watched.finished()
    assert "error" not in output.lower()
    commands, replies = watched.seen(client=True), watched.seen(client=False)
    assert len(commands) == len(replies)
    stats = redis.ask("info", "commandstats")
    for name in (b"SET", b"GET", b"LPUSH", b"LRANGE"):
        calls = re.search(rf"cmdstat_{name.decode().lower()}:calls=(\d+)", stats)
        assert calls is not None
        assert sum(command.split(b"\r\n")[2].upper() == name for command in commands) == int(calls[1]) >= REQUESTS
    assert sum(reply.startswith(b"*100\r\n") for reply in replies) == REQUESTS


def test_replies_of_each_kind_are_equal_to_the_direct_way(redis: Redis, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{redis.port}", framing.resp())
    script = tmp_path / "script"
    script.write_bytes(SCRIPT)

    def said(host: str, port: str, *options: str) -> bytes:
        assert redis.ask("flushall") == "OK"
        with script.open("rb") as source:
            return run([redis.cli, "-h", host, "-p", port, *options], tmp_path, stdin=source)

    for options in ([], ["-3"]):
        assert said(watched.host, watched.port, *options) == said("127.0.0.1", str(redis.port), *options)
    watched.finished()
    commands = len(SCRIPT.splitlines())
    assert len(watched.seen(client=True)) == len(watched.seen(client=False)) >= 2 * commands
