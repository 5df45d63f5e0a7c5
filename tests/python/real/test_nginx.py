"""nginx behind the proxy, curl in front of it: a large file whole, in ranges, over one connection, and side by side."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support.deadline import poll
from support.payloads import MEBIBYTE, file_digest, output_digest, random_file
from support.peers import connect, free_port
from support.processes import Child, may_change_user, program, run

from .conftest import Through

pytestmark = pytest.mark.xdist_group("nginx")

BIG = 200 * MEBIBYTE
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        listen unix:{folder}/http.sock;
        root {folder}/files;
        keepalive_requests 1000;
        client_max_body_size 10m;
        location /zipped/ {{ alias {folder}/files/; gzip on; gzip_types *; gzip_min_length 1; }}
        location /taken {{
            client_body_in_file_only on;
            proxy_pass http://127.0.0.1:{port}/thanks;
        }}
        location /thanks {{ return 200 "thanks"; }}
    }}
}}
"""


class Nginx:
    """A server with one large and a hundred small files."""

    def __init__(self, folder: Path, size: int = BIG) -> None:
        nginx = program("nginx", "nginx-light")
        if os.geteuid() == 0 and not may_change_user():
            pytest.skip("nginx started by root becomes another user, and this root may not")
        self.curl = program("curl", "curl")
        self.port = free_port()
        self.folder = folder
        files = folder / "files"
        files.mkdir()
        self.digest = random_file(files / "big", size)
        self.small = [random_file(files / f"small{number}", 1000 * number) for number in range(100)]
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=self.port))
        self.child = Child([nginx, "-p", str(folder), "-c", str(config), "-e", "stderr"], folder)
        poll(self.answers, 10, "nginx listens")

    def answers(self) -> bool:
        """Whether it listens; an early end fails at once with what it said."""
        assert self.child.popen.poll() is None, self.child.output()
        with contextlib.suppress(ConnectionRefusedError), connect(("127.0.0.1", self.port)):
            return True
        return False


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    server = Nginx(tmp_path_factory.mktemp("nginx"))
    yield server
    assert server.child.stop() == 0
    (server.folder / "files/big").unlink()


@pytest.fixture
def url(nginx: Nginx, through: Through) -> str:
    """Where the files are, seen through the proxy."""
    host, port = through(f"127.0.0.1:{nginx.port}").address
    return f"http://{host}:{port}"


def test_large_file(nginx: Nginx, url: str, tmp_path: Path) -> None:
    assert output_digest([nginx.curl, "-sf", f"{url}/big"], tmp_path, seconds=60) == nginx.digest


def test_large_file_from_a_unix_socket(nginx: Nginx, through: Through, tmp_path: Path) -> None:
    host, port = through(f"unix:{nginx.folder}/http.sock").address
    argv = [nginx.curl, "-sf", f"http://{host}:{port}/big"]
    assert output_digest(argv, tmp_path, seconds=60) == nginx.digest


def test_ranges(nginx: Nginx, url: str, tmp_path: Path) -> None:
    """Eight pieces with odd borders, fetched one by one and put together."""
    borders = [0, 1, 65_535, 1_000_003, 50_000_017, 99_999_989, 150_000_001, BIG - 1, BIG]
    digest = hashlib.sha256()
    for begin, end in pairwise(borders):
        piece = run([nginx.curl, "-sf", "-r", f"{begin}-{end - 1}", f"{url}/big"], tmp_path)
        assert len(piece) == end - begin
        digest.update(piece)
    assert digest.hexdigest() == nginx.digest


def test_keep_alive(nginx: Nginx, url: str, tmp_path: Path) -> None:
    """A hundred files over one connection."""
    argv = [nginx.curl, "-sf", "-w", "%{stderr}%{num_connects}\\n", "-o", "got#1", f"{url}/small[0-99]"]
    with Child(argv, tmp_path) as child:
        assert child.wait(30) == 0
        assert child.output().split() == ["1"] + ["0"] * 99
    assert [file_digest(tmp_path / f"got{number}") for number in range(100)] == nginx.small


def test_parallel(nginx: Nginx, url: str, tmp_path: Path) -> None:
    """A hundred small files and two large ones, twenty connections at once."""
    argv = [nginx.curl, "-sf", "--parallel", "--parallel-immediate", "--parallel-max", "20"]
    argv += ["-o", "big#1", f"{url}/big?copy=[1-2]", "-o", "got#1", f"{url}/small[0-99]"]
    run(argv, tmp_path)
    assert [file_digest(tmp_path / f"got{number}") for number in range(100)] == nginx.small
    for number in (1, 2):
        copy = tmp_path / f"big{number}"
        assert file_digest(copy) == nginx.digest
        copy.unlink()


def test_download_that_is_broken_off(nginx: Nginx, url: str, tmp_path: Path) -> None:
    """curl leaves in the middle, again and again; the next one gets everything."""
    for _ in range(5):
        # 63 is curl's word for "larger than allowed", 28 for "took too long"; it closes with bytes in flight.
        run([nginx.curl, "-s", "--max-time", "0.05", "-o", "part", f"{url}/big"], tmp_path, codes=(0, 28, 63))
    assert output_digest([nginx.curl, "-sf", f"{url}/big"], tmp_path, seconds=60) == nginx.digest
