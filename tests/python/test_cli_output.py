"""The command serves, and ends when it is asked to, whatever standard output and standard error do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from interpose._cli.output import Output
from support.deadline import poll
from support.peers import Echo, ending
from support.peers import echo as echoed
from support.processes import Child
from support.proxies import command
from support.scripts import python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and signals")

STREAMS = pytest.mark.parametrize("which", ["stdout", "stderr", "both"])


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10.0)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def listens(path: Path) -> bool:
    try:
        connected(path).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def fill(descriptor: int) -> None:
    """Leave no room, without making the other holders' writes fail."""
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.set_blocking(descriptor, True)


@contextmanager
def full_pipe() -> Generator[int]:
    reader, writer = os.pipe()
    try:
        fill(writer)
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def paused_terminal() -> Generator[int]:
    termios = pytest.importorskip("termios")
    master, terminal = os.openpty()
    try:
        os.write(master, b"\x13")  # Ctrl-S
        termios.tcflow(terminal, termios.TCOOFF)
        yield terminal
    finally:
        os.close(terminal)
        os.close(master)


@contextmanager
def full_disk() -> Generator[int]:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def gone_reader() -> Generator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


SINKS = {"full pipe": full_pipe, "paused terminal": paused_terminal, "full disk": full_disk, "gone": gone_reader}


@contextmanager
def serving(folder: Path, sink: int, which: str, upstream: Echo) -> Generator[tuple[subprocess.Popen[bytes], Path]]:
    """Run the command with one of its streams, or both, leading to `sink`."""
    path = folder / "listener"
    argv = [*command(), f"unix:{path}", f"127.0.0.1:{upstream.address[1]}", "--verbose"]
    out = sink if which in ("stdout", "both") else subprocess.DEVNULL
    err = sink if which in ("stderr", "both") else subprocess.DEVNULL
    program = subprocess.Popen(argv, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        poll(lambda: listens(path), 10.0, "it listens")
        yield program, path
    finally:
        program.kill()
        program.wait(10)


@STREAMS
@pytest.mark.parametrize("sink", SINKS)
def test_it_serves_and_ends_at_one_signal(sink: str, which: str, echo: Echo, tmp_path: Path) -> None:
    with SINKS[sink]() as descriptor, serving(tmp_path, descriptor, which, echo) as (program, path):
        for _ in range(20):
            with connected(path) as client:
                assert echoed(client, b"all the same") == b"all the same"
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0


@pytest.mark.parametrize("sink", SINKS)
def test_two_signals_end_a_connection_that_lives(sink: str, echo: Echo, tmp_path: Path) -> None:
    with SINKS[sink]() as descriptor, serving(tmp_path, descriptor, "both", echo) as (program, path):
        client = connected(path)
        with client:
            assert echoed(client, b"x") == b"x"
            program.send_signal(signal.SIGTERM)
            # The listener's file goes when the drain has begun.
            poll(lambda: not path.exists(), 5.0, "it drains")
            assert echoed(client, b"still here") == b"still here"
            program.send_signal(signal.SIGINT)
            assert program.wait(5) == 0


def test_a_supervisor_that_reads_nothing_holds_up_no_connection(echo: Echo, tmp_path: Path) -> None:
    """More lines than a pipe takes, so that the rest has to wait, or to be dropped."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines, serving(tmp_path, writer, "stderr", echo) as (program, path):
        os.close(writer)
        for _ in range(500):
            with connected(path) as client:
                assert echoed(client, b"x") == b"x"
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0
        assert len(lines.read()) > 60_000


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_gets_into_no_connection(closed: str, echo: Echo, tmp_path: Path) -> None:
    """A socket may not get the number of a closed stream, or the log would be sent to a client."""
    path = tmp_path / "listener"
    target = f"127.0.0.1:{echo.address[1]}"
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *command(), f"unix:{path}", target, "--verbose"]
    with Child(argv, tmp_path, name="interpose") as child:
        poll(lambda: listens(path), 10.0, "it listens")
        with connected(path) as client:
            assert echoed(client, b"x") == b"x"
            assert not any("socket" in str(Path(f"/proc/{child.pid}/fd/{name}").readlink()) for name in "012")
            client.shutdown(socket.SHUT_WR)
            assert ending(client) == ("eof", b"")
        assert child.stop() == 0


def test_what_finds_no_room_is_counted() -> None:
    reader, writer = os.pipe()
    fill(writer)
    with os.fdopen(reader, "rb") as lines, os.fdopen(writer, "w") as stream:
        output = Output(stream)
        for number in range(1000):
            output.put(f"line {number} " + "." * 1000)
        os.set_blocking(reader, False)
        text = b""

        def counted() -> re.Match[bytes] | None:
            nonlocal text
            text += lines.read() or b""
            return re.search(rb"^interpose: (\d+) lines were dropped: .*$", text, re.MULTILINE)

        found = poll(counted, 10.0, "the number of dropped lines")
        assert int(found[1]) > 500
        kept = [int(number) for number in re.findall(rb"^x*line (\d+) ", text, re.MULTILINE)]
        assert kept == list(range(1000 - int(found[1])))
        output.put("there is room again")
        poll(lambda: b"room again\n" in (lines.read() or b""), 10.0, "the next line")


def test_a_line_that_a_full_disk_cut_is_not_the_next_ones_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    answers: list[int | OSError] = [3, OSError(28, "No space left on device")]

    def scarce(descriptor: int, data: bytes) -> int:
        answer = answers.pop(0) if answers else None
        if isinstance(answer, OSError):
            raise answer
        return write(descriptor, data[:answer])

    monkeypatch.setattr(os, "write", scarce)
    path = tmp_path / "log"
    with path.open("w") as stream:
        output = Output(stream)
        output.put("abcdef")
        output.flush(10.0)
        output.put("whole")
        output.flush(10.0)
    text = path.read_text()
    assert text.startswith("abc\ninterpose: 1 line was dropped: ")
    assert text.endswith("\nwhole\n")


def test_a_stream_that_somebody_made_non_blocking_is_waited_for(echo: Echo, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb") as lines, serving(tmp_path, writer, "both", echo) as (program, path):
        for _ in range(400):
            with connected(path) as client:
                assert echoed(client, b"x") == b"x"
        os.close(writer)
        program.send_signal(signal.SIGTERM)
        text = lines.read()
        assert program.wait(5) == 0
    assert b"dropped" not in text
    assert text.endswith(b"\n")
    assert text.count(b"finished") >= 400


def test_a_defect_is_shown_through_the_same_queue(tmp_path: Path) -> None:
    text = """
        import sys
        from interpose import _cli
        from interpose._cli.parsing import Listener
        def broken(self):
            raise ZeroDivisionError("by hand")
        Listener.bind = broken
        sys.exit(_cli.main(["0", "example.org:80"]))
    """
    ended = python(tmp_path, text)
    assert ended.code == 1
    assert ended.err.endswith("ZeroDivisionError: by hand\n")


def test_the_demo_ends_when_nobody_reads(tmp_path: Path) -> None:
    with full_pipe() as sink, Child([*command(), "demo"], tmp_path, stdout=sink) as child:
        assert child.wait(10) == 0


@pytest.mark.parametrize("word", ["--help", "--version"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_what_waits_for_its_reader_ends_at_one_signal(number: signal.Signals, word: str, tmp_path: Path) -> None:
    """Help waits, as it may be read page by page."""
    if not Path("/proc/self/wchan").exists():
        pytest.skip("no /proc to see what it waits for")
    with full_pipe() as sink, Child([*command(), word], tmp_path, stdout=sink) as child:
        poll(lambda: "pipe_write" in Path(f"/proc/{child.pid}/wchan").read_text(), 10.0, "it writes")
        child.popen.send_signal(number)
        assert child.wait(5) in (0, -number)
        assert child.output() == ""
