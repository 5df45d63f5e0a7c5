"""Two hundred tests with proxies, in parallel workers of pytest, again and again: none may fail by chance."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.measurements import Record
from support.peers import Echo
from support.pytest_runs import BEGIN

RUNS = int(os.environ.get("INTERPOSE_ROUNDS", "50"))
WORKERS = 4
TESTS = """
from interpose import faults

@pytest.mark.parametrize("number", range(40))
def test_asks(tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    p.expect.connections(1)
    assert ask(p, b"%d" % number) == b"%d" % number
    p.wait_closed()

@pytest.mark.parametrize("number", range(40))
def test_leaves_a_pool_open(held, tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    for _ in range(5):
        held.append(client := socket.create_connection(p.address, 10))
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"

@pytest.mark.parametrize("number", range(40))
def test_tries_again(tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    with p.fault(faults.Reset(on_match=b"hel", times=1)) as reset:
        with pytest.raises(ConnectionResetError):
            ask(p)
        assert ask(p) == b"hello"
    assert reset.strikes == 1

@pytest.mark.parametrize("number", range(40))
def test_refused_and_cut(tcp_proxy, number):
    p = tcp_proxy(UPSTREAM)
    with p.refuse(), pytest.raises(ConnectionRefusedError):
        ask(p)
    with p.fault(faults.Cut(after_bytes=3, direction="to_client")):
        with socket.create_connection(p.address, 10) as client:
            client.sendall(b"hello")
            assert client.makefile("rb").read() == b"hel"
    p.wait_closed()

@pytest.mark.parametrize("number", range(40))
def test_changes(tcp_proxy_session, number):
    p = tcp_proxy_session(UPSTREAM)
    @p.on_upstream_recv
    def change(side, data):
        assert data == b"hello"
        return b"sorry"
    assert ask(p) == b"sorry"
    assert p.wait_for(b"hello", direction="to_client").offset == 0

@pytest.fixture
def held():
    sockets = []
    yield sockets
    for one in sockets:
        assert one.recv(1) == b""
        one.close()
"""


@pytest.mark.timeout(3600)
def test_two_hundred_tests_in_workers_pass_every_time(echo: Echo, tmp_path: Path, record_property: Record) -> None:
    (tmp_path / "test_it.py").write_text(BEGIN.format(address=echo.address) + TESTS, encoding="utf-8")
    plugins = ["-p", "xdist", "-p", "interpose.pytest_plugin", "-p", "no:cacheprovider"]
    options = ["-n", str(WORKERS), "-W", "error", "-c", os.devnull, "--rootdir", str(tmp_path)]
    words = [sys.executable, "-X", "dev", "-m", "pytest", "-q", *plugins, *options, "test_it.py"]
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    began = time.monotonic()
    for number in range(1, RUNS + 1):
        done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"run {number}:\n{done.stdout[-8000:]}{done.stderr[-2000:]}"
        assert "200 passed" in done.stdout
    record_property("runs", RUNS)
    record_property("seconds", round(time.monotonic() - began, 1))
