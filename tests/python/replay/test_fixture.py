"""The fixture `tcp_replay`, in runs of pytest of its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from interpose.testing import Proxy
from support.peers import Echo
from support.pytest_runs import APART, BEGIN, output_of

TESTS = f"RECORD = {{record!r}}\n{BEGIN}"


@pytest.fixture
def record(echo: Echo, tmp_path: Path) -> Path:
    """A record of two connections, each of which said hello."""
    import socket

    path = tmp_path / "session.jsonl"
    with Proxy(echo.address) as proxy, proxy.record(path):
        for _ in range(2):
            with socket.create_connection(proxy.address, 10) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
        proxy.wait_closed()
    return path


def run(pytester: pytest.Pytester, record: Path, tests: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(TESTS.format(record=str(record), address=None) + tests)
    pytester.makeini("[pytest]\nfilterwarnings =\n    error\n")
    with pytest.MonkeyPatch.context() as environment:
        # Without the plugins that are installed, which take their time to be imported.
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "interpose.pytest_plugin", *options)


def test_a_test_runs_without_its_server(pytester: pytest.Pytester, record: Path) -> None:
    before = threading.active_count()
    result = run(
        pytester,
        record,
        """
def test_it(tcp_replay):
    r = tcp_replay(RECORD, mask=[rb"nothing"], match="bytes")
    assert ask(r) == ask(r) == b"hello"

def test_only_one(tcp_replay):
    r = tcp_replay(RECORD)
    r.expect_all(False)
    assert ask(r) == b"hello"

@pytest.fixture
def client(tcp_replay):
    with socket.create_connection(tcp_replay(RECORD, expect_all=False).address, 10) as client:
        yield client
        client.sendall(b"hello")
        client.recv(5)

def test_a_client_that_says_the_last_word_when_it_is_closed(client):
    pass
""",
    )
    result.assert_outcomes(passed=3)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("ask(r), ask(r, b'hallo')", "connection 2, to_upstream, byte 1: expected b'ello', got b'allo'"),
        ("ask(r)", "no client came for the recorded connection 2"),
        ("ask(r), ask(r), ask(r)", "connection 3: it was never recorded: the record has 2 connections"),
    ],
)
def test_a_test_fails_that_does_something_else(pytester: pytest.Pytester, record: Path, body: str, line: str) -> None:
    result = run(pytester, record, f"\ndef test_it(tcp_replay):\n    r = tcp_replay(RECORD)\n    {body}\n")
    result.assert_outcomes(failed=1)
    assert f"ReplayError: replay {record}: {line}" in output_of(result)
    # pytest says so where it has nothing to show.
    assert "entries are hidden" not in output_of(result)


def test_a_client_that_is_left_in_the_middle_is_an_error_of_the_teardown(
    pytester: pytest.Pytester, record: Path
) -> None:
    result = run(
        pytester,
        record,
        """
@pytest.fixture
def client(tcp_replay):
    with socket.create_connection(tcp_replay(RECORD, expect_all=True).address, 10) as client:
        client.sendall(b"hel")
        yield client

def test_it(client):
    pass
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    assert "expected b'lo', but the " in output_of(result)


def test_a_record_that_is_missing_is_one_line(pytester: pytest.Pytester, record: Path) -> None:
    result = run(pytester, record, "\ndef test_it(tcp_replay):\n    tcp_replay(RECORD + 'x')\n")
    result.assert_outcomes(failed=1)
    assert "ConfigError: record " in output_of(result)


def test_workers_do_not_meet(pytester: pytest.Pytester, record: Path) -> None:
    pytest.importorskip("xdist")
    test = """
@pytest.mark.parametrize("number", range(20))
def test_it(tcp_replay, number):
    r = tcp_replay(RECORD)
    assert ask(r) == ask(r) == b"hello"
"""
    pytester.makepyfile(TESTS.format(record=str(record), address=None) + test)
    result = pytester.runpytest_subprocess(*APART, "-n", "2", timeout=60)
    result.assert_outcomes(passed=20)


def test_the_fixture_is_in_the_help(pytester: pytest.Pytester) -> None:
    options = ("-p", "no:cacheprovider", "-p", "interpose.pytest_plugin", "--fixtures", "-v")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        result = pytester.runpytest_inprocess(*options)
    assert "Play recorded servers to the client of this test" in output_of(result)
