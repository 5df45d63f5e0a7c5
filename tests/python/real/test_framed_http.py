"""nginx and curl with a callback between them that sees each request and each response."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import framing
from support.payloads import MEBIBYTE, file_digest
from support.processes import Child, run

from .conftest import Frame
from .test_nginx import Nginx

pytestmark = pytest.mark.xdist_group("nginx")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    server = Nginx(tmp_path_factory.mktemp("nginx"), MEBIBYTE)
    yield server
    assert server.child.stop() == 0


def test_a_kept_connection_has_a_message_for_each_request(nginx: Nginx, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{nginx.port}", framing.http1())
    url = f"http://{watched.host}:{watched.port}/small[0-99]"
    with Child([nginx.curl, "-sf", "-w", "%{stderr}%{num_connects}\\n", "-o", "got#1", url], tmp_path) as child:
        assert child.wait(30) == 0
        assert child.output().split() == ["1"] + ["0"] * 99
    watched.finished()
    assert [file_digest(tmp_path / f"got{number}") for number in range(100)] == nginx.small
    requests, answers = watched.seen(client=True), watched.seen(client=False)
    assert [request.split()[1] for request in requests] == [b"/small%d" % number for number in range(100)]
    assert [len(answer.partition(b"\r\n\r\n")[2]) for answer in answers] == [1000 * number for number in range(100)]


def test_a_head_has_no_body_and_what_follows_it_has(nginx: Nginx, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{nginx.port}", framing.http1())
    url = f"http://{watched.host}:{watched.port}/small5"
    run([nginx.curl, "-sfI", url, "--next", "-sf", "-o", "got", url, "--next", "-s", f"{url}-not"], tmp_path)
    watched.finished()
    assert file_digest(tmp_path / "got") == nginx.small[5]
    assert [request.split()[0] for request in watched.seen(client=True)] == [b"HEAD", b"GET", b"GET"]
    answers = watched.seen(client=False)
    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"404"]
    assert [len(answer.partition(b"\r\n\r\n")[2]) for answer in answers[:2]] == [0, 5000]


def test_chunked_answers_are_whole(nginx: Nginx, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{nginx.port}", framing.http1())
    url = f"http://{watched.host}:{watched.port}/zipped"
    run([nginx.curl, "-sf", "--compressed", "-o", "got#1", f"{url}/small[90-99]", "-o", "big", f"{url}/big"], tmp_path)
    watched.finished()
    assert [file_digest(tmp_path / f"got{number}") for number in range(90, 100)] == nginx.small[90:]
    assert file_digest(tmp_path / "big") == nginx.digest
    answers = watched.seen(client=False)
    assert len(watched.seen(client=True)) == len(answers) == 11
    for answer in answers:
        assert b"transfer-encoding: chunked" in answer.partition(b"\r\n\r\n")[0].lower()
        assert answer.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("size", [10, 3 * MEBIBYTE])
def test_chunked_requests_are_whole(size: int, nginx: Nginx, framed: Frame, tmp_path: Path) -> None:
    """The large one is announced, and waits for the server's word."""
    watched = framed(f"127.0.0.1:{nginx.port}", framing.http1())
    data = os.urandom(size)
    (tmp_path / "data").write_bytes(data)
    before = set((nginx.folder / "body").iterdir())
    argv = [nginx.curl, "-sf", "-H", "Transfer-Encoding: chunked", "--data-binary", "@data"]
    argv += ["-H", "Expect: 100-continue"] if size > MEBIBYTE else []
    assert run([*argv, f"http://{watched.host}:{watched.port}/taken"], tmp_path) == b"thanks"
    watched.finished()
    (kept,) = set((nginx.folder / "body").iterdir()) - before
    assert kept.read_bytes() == data
    kept.unlink()
    requests, answers = watched.seen(client=True), watched.seen(client=False)
    if size > MEBIBYTE:
        # The head, then the body; the word to go on, then the answer.
        assert len(requests) == 2
        assert [answer.split()[1] for answer in answers] == [b"100", b"200"]
    else:
        assert (len(requests), len(answers)) == (1, 1)
    assert requests[-1].endswith(b"0\r\n\r\n")
