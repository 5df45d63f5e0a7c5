"""Strategies for Hypothesis: what they make, and clients that meet it."""

from __future__ import annotations

import doctest
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis
from clients.servers import redis_server
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from interpose import ArgumentTypeError, ConfigError, TheServer, faults
from interpose.testing import Proxy, strategies
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.peers import Echo, connect

EXAMPLES = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.data(), st.binary(max_size=50), st.integers(1, 9))
def test_pieces_are_the_data(data: st.DataObject, whole: bytes, most: int) -> None:
    pieces = data.draw(strategies.chunkings(whole, most))
    assert b"".join(pieces) == whole
    assert all(pieces)
    assert len(pieces) <= most


@given(strategies.close_orders())
def test_who_has_left_does_nothing_more(steps: list[strategies.Leaving]) -> None:
    assert steps
    for number, step in enumerate(steps):
        before = [one.how for one in steps[:number] if one.peer == step.peer]
        assert "close" not in before
        assert "reset" not in before
        assert step.how != "half_close" or "half_close" not in before


@given(strategies.fault_scripts(kinds=["changing", "Latency"], max_bytes=7, max_size=2))
def test_faults_are_of_the_kinds_that_were_asked_for(script: list[faults.Fault]) -> None:
    kinds = (faults.Corrupt, faults.Duplicate, faults.Truncate, faults.Drop, faults.Latency)
    assert len(script) <= 2
    assert all(isinstance(one, kinds) for one in script)


@EXAMPLES
@given(pieces=strategies.chunkings(bytes(range(256)) * 20), script=strategies.fault_scripts(kinds="slow"))
def test_slow_faults_lose_nothing(pieces: list[bytes], script: list[faults.Fault]) -> None:
    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, faults=script) as server,
        connect(server.address) as client,
    ):
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"".join(pieces)


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@EXAMPLES
@given(script=strategies.fault_scripts(kinds=["slow", "breaking"], max_bytes=200), seed=strategies.seeds())
@example(script=[faults.Reset(after_bytes=40)], seed=1)
def test_redis_py_answers_right_or_says_that_it_cannot(redis_port: int, script: list[faults.Fault], seed: int) -> None:
    with Proxy(f"127.0.0.1:{redis_port}", faults=[one.again() for one in script], seed=seed) as proxy:
        client = redis.Redis(
            proxy.host, proxy.port, socket_timeout=0.1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            assert client.set("key", "value")
            assert client.get("key") == b"value"
        except redis.RedisError:
            pass
        finally:
            client.close()


def test_examples_of_docstrings_run() -> None:
    result = doctest.testmod(strategies)
    assert result.failed == 0
    assert result.attempted >= 10


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="there is no 'slowly'; there are all, slow"):
        strategies.fault_scripts(kinds="slowly")
    with pytest.raises(ArgumentTypeError, match="data: it is str"):
        strategies.chunkings("text")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_chunks"):
        strategies.chunkings(b"x", 0)


def test_without_hypothesis_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import interpose.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "pip install 'interpose[hypothesis]'" in done.stderr
