"""What the clients ask."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from real.test_framed_mariadb import MariaDB
from real.test_framed_mqtt import Mosquitto
from real.test_postgres import cluster
from real.test_redis import Redis

from .subject import answer_of, question_of

METHOD = "/test.Test/Ask"
ANSWERS = {question_of(number): answer_of(number) for number in range(10)}


@contextmanager
def redis_server(folder: Path) -> Generator[int]:
    """Serve Redis with the answers; yield its port."""
    server = Redis(folder)
    try:
        for question, answer in ANSWERS.items():
            server.ask("set", question, answer)
        yield server.port
    finally:
        assert server.child.stop() == 0


@contextmanager
def postgres_server(folder: Path) -> Generator[int]:
    """Serve PostgreSQL; yield its port."""
    del folder
    with cluster(fill=False) as server:
        yield server.port


@contextmanager
def mariadb_server(folder: Path) -> Generator[int]:
    """Serve MariaDB; yield its port."""
    server = MariaDB(folder)
    try:
        # The first client of all takes longer than clients here may.
        server.ask("127.0.0.1", str(server.port), folder, ["SELECT 1"])
        yield server.port
    finally:
        assert server.child.stop() == 0


@contextmanager
def mqtt_server(folder: Path) -> Generator[int]:
    """Serve MQTT; yield its port."""
    server = Mosquitto(folder)
    try:
        yield server.port
    finally:
        assert server.child.stop() == 0


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out at once.
    wbufsize = 65536
    # A client that is gone is not waited for.
    timeout = 10

    def parse_request(self) -> bool:
        """Refuse requests of HTTP 0.9, which one that was cut looks like."""
        line: bytes = vars(self)["raw_requestline"]
        if b"HTTP/1.1" not in line:
            self.close_connection = True
            return False
        return super().parse_request()

    def do_GET(self) -> None:
        body = ANSWERS.get(self.path.removeprefix("/"))
        self.send_response(404 if body is None else 200)
        content = (body or "not here").encode()
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients are cut off."""


@contextmanager
def http_server(folder: Path) -> Generator[int]:
    """Serve HTTP 1.1, with connections that are kept; yield its port."""
    del folder
    with _QuietServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def grpc_server(folder: Path) -> Generator[int]:
    """Serve gRPC; yield its port."""
    del folder
    grpc: Any = pytest.importorskip("grpc")

    def answer(question: bytes, context: Any) -> bytes:
        found = ANSWERS.get(question.decode("latin-1"))
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        return (found or "").encode()

    handler = grpc.unary_unary_rpc_method_handler(answer)
    service, method = METHOD.removeprefix("/").split("/")
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)
