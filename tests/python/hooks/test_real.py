"""Real programs through a callback that only looks."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks
from real.test_postgres import Postgres
from support.addresses import address_of
from support.callbacks import CloseRecorder, without_arguments
from support.peers import free_port
from support.processes import Child, program, run


class Looks:
    """An on_recv that counts what it sees and changes nothing."""

    def __init__(self) -> None:
        self.counts = {True: 0, False: 0}

    def __call__(self, side: Any, data: bytes) -> bytes:
        self.counts[side.is_client] += len(data)
        return data


def looked_at(serve: Serve, target: Any, **settings: Any) -> tuple[Looks, CloseRecorder, str, str]:
    """Start a server in between; return what looks, what sees the ends, and where it listens."""
    looks, ends = Looks(), CloseRecorder()
    server = serve(target, on_recv=looks, on_eof=without_arguments(lambda: None), on_close=ends, **settings)
    host, port = address_of(server)
    return looks, ends, host, str(port)


@pytest.mark.parametrize("threads", [1, 2])
def test_redis_benchmark(threads: int, serve: Serve, tmp_path: Path) -> None:
    port = str(free_port())
    argv = [program("redis-server", "redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", ""]
    with Child([*argv, "--dir", str(tmp_path)], tmp_path) as child:
        child.wait_for("Ready to accept connections")
        looks, _, host, through = looked_at(serve, f"127.0.0.1:{port}", callbacks=Callbacks(threads=threads))
        argv = [program("redis-benchmark", "redis-tools"), "-h", host, "-p", through, "-n", "2000", "-c", "20"]
        output = run([*argv, "-P", "4", "--csv", "-t", "set,get,lrange_100"], tmp_path).decode()
    assert "error" not in output.lower()
    assert {"SET", "GET"} <= {line.split(",")[0].strip('"') for line in output.splitlines()}
    assert min(looks.counts.values()) > 100_000


def test_pgbench(serve: Serve) -> None:
    # pytest's own folders are closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="interpose-pg-"))
    try:
        postgres = Postgres(folder, fill=False)
        try:
            looks, _, host, port = looked_at(serve, postgres.target_of["tcp"])
            argv = [program("pgbench", "postgresql"), "-h", host, "-p", port, "-U", "tester"]
            run([*argv, "-i", "-q", "-s", "1", "postgres"], folder)
            output = run([*argv, "-n", "-c", "4", "-t", "50", "postgres"], folder).decode()
        finally:
            assert postgres.child.stop(signal.SIGINT) == 0
    finally:
        shutil.rmtree(folder)
    assert "number of transactions actually processed: 200/200" in output
    assert min(looks.counts.values()) > 10_000


@contextmanager
def files_of(folder: Path) -> Generator[str]:
    """An HTTP server of the standard library's with the files of a folder; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10.0)


def test_curl_of_a_large_file(serve: Serve, tmp_path: Path) -> None:
    size = 20 << 20
    data = os.urandom(size)
    (tmp_path / "large").write_bytes(data)
    with files_of(tmp_path) as target:
        looks, ends, host, port = looked_at(serve, target)
        curl = [program("curl", "curl"), "-sS", "--fail", f"http://{host}:{port}/large"]
        got = run(curl, tmp_path)
        conn = ends.wait()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert conn.to_client.delivered == conn.to_client.read == looks.counts[False] > size
