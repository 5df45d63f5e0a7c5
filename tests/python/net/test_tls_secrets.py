"""The secrets of TLS: their file, which a slow disk makes nobody wait for, and captures that have them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, ConfigError, Forward, Tls, TlsFileError, TlsUpstream, filters
from interpose._addresses import address_text
from support.certificates import Certificate, self_signed, serving, trusting
from support.deadline import poll
from support.peers import Address, Echo
from support.peers import echo as said
from support.processes import program, run
from support.proxies import ProxyCommand
from support.tls_peers import over_tls, tls_upstream

REQUEST = b"GET /inside HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


@pytest.fixture
def web(own: Certificate) -> Iterator[Address]:
    def answer(client: ssl.SSLSocket) -> None:
        assert client.recv(1000) == REQUEST
        client.sendall(ANSWER)
        client.unwrap()

    with tls_upstream(serving(own), answer) as address:
        yield address


def asked(client: socket.socket) -> None:
    client.sendall(REQUEST)
    answer = b""
    while len(answer) < len(ANSWER):
        answer += client.recv(100)
    assert answer == ANSWER


def uris(file: Path, port: int) -> list[str]:
    """Return what tshark finds asked for in a capture, by itself, in one pass."""
    argv = [program("tshark", "tshark"), "-r", str(file), "-d", f"tcp.port=={port},tls", "-Y", "http.request"]
    return run([*argv, "-T", "fields", "-e", "http.request.uri"], file.parent).decode().split()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tshark_decrypts_what_passes_with_the_keys_of_the_client(
    serve: Serve, own: Certificate, web: Address, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    keys, file = tmp_path / "keys", tmp_path / "a.pcapng"
    keys.write_text("CLIENT_RANDOM 00 11\n")
    capture = filters.Capture(file, keys=keys)
    server = serve(web, filters=[capture])
    context = trusting(own)
    context.maximum_version = version
    context.keylog_filename = str(keys)
    with over_tls(server.address, context) as client:
        asked(client)
        client.unwrap()
    server.stop()
    port = server.address[1]
    poll(lambda: uris(file, port) == ["/inside"], 10.0, "the secrets in the capture")
    assert b"CLIENT_RANDOM 00 11" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_keys_a_capture_has_no_secrets(serve: Serve, own: Certificate, web: Address, tmp_path: Path) -> None:
    keys, file = tmp_path / "keys", tmp_path / "a.pcapng"
    server = serve(web, filters=[filters.Capture(file)])
    context = trusting(own)
    context.keylog_filename = str(keys)
    with over_tls(server.address, context) as client:
        asked(client)
    server.stop()
    assert uris(file, server.address[1]) == []
    secrets = [line.split() for line in keys.read_bytes().splitlines() if not line.startswith(b"#")]
    assert secrets
    captured = file.read_bytes()
    assert not any(part in captured for _, *numbers in secrets for part in numbers)
    assert b"_SECRET" not in captured


def sessions_in(folder: Path) -> set[bytes]:
    """Return the random numbers of the sessions whose secrets are in captures."""
    lines = [line for file in folder.glob("a*.pcapng") for line in file.read_bytes().split(b"\n")]
    return {line.split()[1] for line in lines if line.startswith(b"CLIENT_TRAFFIC_SECRET_0 ")}


def test_the_command_puts_the_keys_of_a_server_into_each_file(own: Certificate, tmp_path: Path) -> None:
    """The server is interpose as well, so its secrets come from `--keylog`."""
    options = ["--tls-cert", str(own.cert), "--tls-key", str(own.key), "--keylog", "keys"]
    with Echo() as echo, ProxyCommand("0", address_text(echo.address), tmp_path, *options) as inner:
        capturing = ["--capture", "a.pcapng", "--capture-keys", "keys", "--capture-rotate-size", "1MiB"]
        with ProxyCommand("0", address_text(inner.address), tmp_path, *capturing) as outer:
            for number in range(2):
                with over_tls(outer.address, trusting(own)) as client:
                    assert said(client, REQUEST) == REQUEST
                    # A file that is full before its secrets are known has none.
                    poll(lambda: len(sessions_in(tmp_path)) > number, 10.0, "the secrets in a file")  # noqa: B023
                    # Both ways a file and a half, so the next connection begins in the middle of another one.
                    assert said(client, bytes(800_000)) == bytes(800_000)
                    client.unwrap()
            assert outer.stop() == 0
            files = sorted(tmp_path.glob("a_*.pcapng"))
            assert len(files) > 1
            # An echo: each request comes back. The second connection is in a file behind the first's.
            with_request = [file for file in files if "/inside" in uris(file, outer.address[1])]
            assert len(with_request) == 2


def test_what_is_decrypted_is_read_at_the_port_that_it_had(
    serve: Serve, own: Certificate, web: Address, tmp_path: Path
) -> None:
    file = tmp_path / "a.pcapng"
    server = serve(
        Forward("localhost", web[1], tls=TlsUpstream(own.cert)),
        tls=Tls(own.cert, own.key),
        filters=[filters.Capture(file)],
    )
    with over_tls(server.address, trusting(own)) as client:
        asked(client)
        client.unwrap()
    server.stop()
    argv = [program("tshark", "tshark"), "-r", str(file), "-Y", "http.request", "-T", "fields", "-e", "tcp.dstport"]
    assert run(argv, tmp_path).decode().split() == [str(server.address[1])]


def test_keys_that_will_not_do_are_one_line(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    attempts: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: filters.Capture(tmp_path / "a", keys=tmp_path), ConfigError, "keys .*: is a directory; give a file"),
        (lambda: filters.Capture(fifo, keys=tmp_path / "k"), ConfigError, "keys: they are written at the beginning"),
        (lambda: filters.Capture(tmp_path / "a", keys="k", rotate_size=2000), ConfigError, "rotate_size: with keys"),
        (lambda: filters.Capture(tmp_path / "a", keys=5), ArgumentTypeError, "keys: it is int, not a path"),  # type: ignore[arg-type]
        (lambda: filters.Capture(tmp_path / "a", keys=""), ConfigError, "keys: it is no path"),
    ]
    for wrong, kind, line in attempts:
        with pytest.raises(kind, match=line):
            wrong()


def test_a_disk_that_does_not_take_secrets_holds_up_no_handshake(
    serve: Serve, own: Certificate, echo: Echo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe that nobody reads stands for the disk: it takes some secrets, and then none."""
    pipe = tmp_path / "keys"
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = serve(echo.address, tls=Tls(own.cert, own.key, keylog=pipe))
    context = trusting(own)
    for _ in range(150):
        with over_tls(server.address, context) as client:
            assert said(client, b"x") == b"x"
    read = bytearray()

    def is_whole() -> bool:
        with contextlib.suppress(BlockingIOError):
            read.extend(os.read(reader, 65536))
        return read.count(b"CLIENT_TRAFFIC_SECRET_0") == 150

    poll(is_whole, 10.0, "all secrets")
    server.stop()
    os.close(reader)
    assert all(line.count(b" ") == 2 for line in bytes(read).splitlines())
    assert "left out" not in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_costs_secrets_and_no_connection(
    serve: Serve, own: Certificate, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(echo.address, tls=Tls(own.cert, own.key, keylog="/dev/full"))
    for _ in range(3):
        with over_tls(server.address, trusting(own)) as client:
            assert said(client, b"x") == b"x"
    warning = "keylog /dev/full: secrets of sessions are lost: no space left on device; make room there"
    poll(lambda: warning in caplog.text, 10.0, "the warning")
    server.stop()
    assert caplog.text.count(warning) == 1


def test_settings_with_one_file_of_secrets_have_one_thread(own: Certificate, tmp_path: Path) -> None:
    def new() -> int:
        return len(threads() - before)

    def threads() -> set[str]:
        found: set[str] = set()
        for path in Path("/proc/self/task").glob("*/comm"):
            with contextlib.suppress(OSError):
                if path.read_text().strip() == "interpose-tap":
                    found.add(path.parent.name)
        return found

    before = threads()
    keys = tmp_path / "keys"
    kept: list[object] = [TlsUpstream(own.cert, keylog=keys)]
    poll(lambda: new() == 1, 10.0, "the thread")
    kept += [Tls(own.cert, own.key, keylog=keys), TlsUpstream(own.cert, keylog=keys)]
    keys.unlink()
    kept.append(Tls(own.cert, own.key, keylog=keys))
    poll(lambda: new() == 2, 10.0, "the thread of the other file")
    kept.clear()
    poll(lambda: new() == 0, 10.0, "the end of the threads")


def test_pipes_that_nobody_reads_are_refused_at_once(own: Certificate, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ConfigError, match="it is a pipe or a device, and cannot be looked at again; give a file"):
        filters.Capture(tmp_path / "a.pcapng", keys=pipe)
    with pytest.raises(TlsFileError, match="start what reads this pipe first"):
        Tls(own.cert, own.key, keylog=pipe)


def test_a_capture_with_keys_begins_on_a_small_stack(tmp_path: Path) -> None:
    script = (
        "import sys, threading\n"
        "from interpose import filters\n"
        "threading.stack_size(256 * 1024)\n"
        "thread = threading.Thread(target=lambda: filters.Capture('a.pcapng', keys='keys'))\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=60, check=False).returncode == 0
