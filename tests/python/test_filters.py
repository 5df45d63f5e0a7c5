"""Filters that look: what they show, and that they hold up nothing."""

from __future__ import annotations

import gc
import io
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from interpose import ArgumentTypeError, CloseReason, ConfigError, TheServer, filters
from support.peers import Echo, connect, echo
from support.scripts import passes, python

Making = Callable[[object], filters.Filter]


def shown(make: Making, data: bytes = b"*1\r\n$4\r\nPING\r\n") -> str:
    """Return what a filter has shown of a client that sends `data` to an echo."""
    out = io.StringIO()
    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, filters=[make(out)]) as server,
        connect(server.address) as client,
    ):
        assert echo(client, data) == data
    return out.getvalue()


def without_times(text: str) -> list[str]:
    return [line.partition(" ")[2] if line[2:3] == ":" else line for line in text.splitlines()]


def test_a_hexdump_shows_a_connection_from_its_beginning_to_its_end() -> None:
    lines = without_times(shown(lambda out: filters.Hexdump(out)))  # type: ignore[arg-type]
    row = "  00000000  2a 31 0d 0a 24 34 0d 0a  50 49 4e 47 0d 0a        |*1..$4..PING..|"
    assert lines[0].startswith("#1 open 127.0.0.1:")
    assert lines[1].startswith("#1 connected 127.0.0.1:")
    assert lines[2:6] == ["#1 > 14 bytes at 0", row, "#1 < 14 bytes at 0", row]
    assert lines[-1] == "#1 closed finished, > 14 bytes, < 14 bytes"
    assert set(lines[6:-1]) == {"#1 > end", "#1 < end"}


def test_text_and_json_show_the_same_bytes() -> None:
    lines = without_times(shown(lambda out: filters.Text(out), b"GET /\r\n\x1b[2J"))  # type: ignore[arg-type]
    assert [line for line in lines if line.startswith("#1 > ")][:2] == ["#1 > GET /\\r\\n", "#1 > \\x1b[2J"]
    objects = [json.loads(line) for line in shown(lambda out: filters.JsonLines(out), b"\xff").splitlines()]  # type: ignore[arg-type]
    assert [one["event"] for one in objects[:3]] == ["open", "connect", "data"]
    assert objects[2]["base64"] == "/w=="
    assert objects[2]["direction"] == "to_upstream"
    assert objects[2]["offset"] == 0
    assert objects[-1]["reason"] == "finished"
    assert objects[-1]["to_client"]["delivered"] == 1


def test_one_direction_alone_is_shown_cut_and_in_colour() -> None:
    text = shown(lambda out: filters.Hexdump(out, direction="to_client", truncate=2, color=True))  # type: ignore[arg-type]
    assert "> 14 bytes at" not in text
    assert "< 14 bytes at 0" in text
    assert "... and 12 more bytes" in text
    assert "\x1b[32m" in text


def test_a_file_gets_everything_before_the_stop_returns_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_bytes(b"")
    fresh = tmp_path / "fresh.txt"
    with Echo() as upstream:
        for file in (str(path), fresh):
            for _ in range(2):
                watched = TheServer("", 0, upstream.address, filters=[filters.Text(file)])
                with watched as server, connect(server.address) as client:
                    echo(client, b"hello")
    assert path.read_text().count("> hello") == 2
    assert fresh.read_text().count("closed finished") == 2
    if sys.platform != "win32":
        assert fresh.stat().st_mode & 0o777 == 0o600


def test_filters_change_for_the_clients_to_come_and_for_a_live_side() -> None:
    first, second = io.StringIO(), io.StringIO()
    with Echo() as upstream, TheServer("", 0, upstream.address) as server:
        assert server.filters == []
        with connect(server.address) as before:
            echo(before, b"unseen")
            server.filters = [filters.Text(first)]
            (connection,) = server.connections
            side, chosen = connection.client, filters.Hexdump(second)
            assert side.filters is None
            side.filters = [chosen]
            assert connection.client.filters == [chosen]
            echo(before, b"seen")
            side.filters = []
            echo(before, b"gone")
        with connect(server.address) as after:
            echo(after, b"another")
    assert "> another" in first.getvalue()
    assert "seen" not in first.getvalue()
    assert without_times(second.getvalue()) == [
        "#1 > 4 bytes at 6",
        "  00000006  73 65 65 6e                                       |seen|",
    ]


def test_a_live_connection_is_shown_on_by_filters_that_nobody_else_has() -> None:
    out = io.StringIO()
    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, filters=[filters.Text(out)]) as server,
        connect(server.address) as client,
    ):
        echo(client, b"first")
        server.filters = []
        gc.collect()
        echo(client, b"second")
        with connect(server.address) as later:
            echo(later, b"unseen")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert "> second" in out.getvalue()
    assert "unseen" not in out.getvalue()
    assert out.getvalue().splitlines()[-1].endswith("#1 closed finished, > 11 bytes, < 11 bytes")


def test_filters_of_a_class_hold_for_its_servers() -> None:
    out = io.StringIO()

    class Watched(TheServer):
        filters = (filters.Text(out),)

    with Echo() as upstream, Watched("", 0, upstream.address) as server, connect(server.address) as client:
        echo(client, b"hello")
    assert "> hello" in out.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes that are closed and devices that are full")
@pytest.mark.parametrize("case", ["closed", "full", "nobody reads"])
def test_an_output_that_fails_or_stands_still_holds_up_no_connection(case: str) -> None:
    data = os.urandom(1024 * 1024) * 16
    reader, writer = os.pipe()
    try:
        if case == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), writer)
        elif case == "closed":
            os.close(reader)
        looking = filters.Hexdump(writer)
        with Echo() as upstream, TheServer("", 0, upstream.address, filters=[looking]) as server:
            with connect(server.address) as client:
                sending = threading.Thread(target=client.sendall, args=(data,))
                sending.start()
                got = bytearray()
                while len(got) < len(data):
                    got += client.recv(1 << 20)
                sending.join(20)
            assert got == data
        assert looking.missed_bytes > 0
        assert server.stats.closed[CloseReason.FINISHED] == 1
    finally:
        if case != "closed":
            os.close(reader)
        os.close(writer)


class Failing:
    """Raises for the first texts, and keeps those that follow."""

    name = "the\x1blist"

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        self.left -= 1
        if self.left >= 0:
            raise SystemExit(f"no room for {self.left}")
        self.texts.append(text)


def test_an_object_that_fails_is_in_the_log_once_and_gets_what_follows(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(2)
    looking = filters.Text(failing)
    with (
        caplog.at_level("WARNING", "interpose.tap"),
        Echo() as upstream,
        TheServer("", 0, upstream.address, filters=[looking]) as server,
        connect(server.address) as client,
    ):
        for data in (b"hello", b"again", b"third"):
            assert echo(client, data) == data
            assert looking.flush(20)
    assert any("> third" in text for text in failing.texts)
    assert [record.getMessage() for record in caplog.records] == [
        "the\\x1blist: its write() raised SystemExit: no room for 1; that text is lost, and the connections go on"
    ]


def test_an_output_that_is_too_slow_is_said_once_at_an_end(tmp_path: Path) -> None:
    text = """
        import logging, os
        from interpose import TheServer, filters
        from support.peers import Echo, connect, echo
        logging.basicConfig(format="%(message)s")
        reader, writer = os.pipe()
        with Echo() as upstream, TheServer("", 0, upstream.address, filters=[filters.Hexdump(writer)]) as server:
            with connect(server.address) as client:
                echo(client, b"x" * 60_000)
    """
    assert python(tmp_path, text).err.count("a capture or a keylog is too slow") == 1


def test_an_output_that_is_too_slow_is_said_with_what_it_has_missed(tmp_path: Path) -> None:
    text = """
        import logging, os
        from interpose import TheServer, filters
        from support.peers import Echo, connect, echo
        logging.basicConfig(format="%(message)s")
        reader, writer = os.pipe()
        shows = filters.Hexdump(writer, direction="to_upstream")
        with Echo() as upstream, TheServer("", 0, upstream.address, filters=[shows]) as server:
            with connect(server.address) as client:
                for _ in range(20):
                    echo(client, b"x" * 1_000_000)
        print(shows.missed_events, shows.missed_bytes)
    """
    ended = python(tmp_path, text)
    events, size = ended.out.split()
    assert int(size) > 8_000_000
    assert "too slow: what passed last is not yet written there, and is lost if the process ends now" in ended.err
    assert f"give it a faster disk or reader; {events} events with {size} bytes were left out before" in ended.err


def test_an_object_that_blocks_holds_up_no_flush() -> None:
    entered, gate = threading.Event(), threading.Event()

    class Blocking:
        def write(self, _: str) -> None:
            entered.set()
            gate.wait(20)

    looking = filters.Text(Blocking())
    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, filters=[looking]) as server,
        connect(server.address) as client,
    ):
        assert echo(client, b"hello") == b"hello"
        assert entered.wait(20)
        assert not looking.flush(0)
        gate.set()
        assert looking.flush(20)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are limited otherwise there")
def test_an_object_is_written_to_with_a_descriptor_beyond_1023(tmp_path: Path) -> None:
    text = """
        import io, os, resource
        from interpose import TheServer, filters
        from support.peers import Echo, connect, echo
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        reserved = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        seen = io.StringIO()
        looking = filters.Text(seen)
        for descriptor in reserved:
            os.close(descriptor)
        with Echo() as upstream, TheServer("", 0, upstream.address, filters=[looking]) as server:
            with connect(server.address) as client:
                echo(client, b"hello")
            assert looking.flush(20)
        print("> hello" in seen.getvalue())
    """
    assert passes(tmp_path, text).split() == ["True"]


def test_standard_output_has_everything_when_the_process_ends(tmp_path: Path) -> None:
    text = """
        import time
        from interpose import TheServer, filters
        from support.peers import Echo, connect, echo
        with Echo() as upstream:
            server = TheServer("", 0, upstream.address, filters=[filters.Text()]).start()
            print("first")
            with connect(server.address) as client:
                echo(client, b"hello")
            server.stop()
    """
    lines = passes(tmp_path, text).splitlines()
    assert lines[0] == "first" or "first" in lines
    assert any(line.endswith("> hello") for line in lines)
    assert lines[-1].split("#1 ")[-1].startswith("closed finished")


WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: TheServer("", 0, "a:1", filters=filters.Hexdump), ArgumentTypeError, "filters"),  # type: ignore[arg-type]
    (lambda: TheServer("", 0, "a:1", filters=filters.Hexdump()), ArgumentTypeError, "write [filters.Hexdump()]"),  # type: ignore[arg-type]
    (lambda: TheServer("", 0, "a:1", filters=[filters.Text]), ArgumentTypeError, "write filters.Text()"),  # type: ignore[list-item]
    (lambda: TheServer("", 0, "a:1", filters="hexdump"), ArgumentTypeError, "write [filters.Hexdump()]"),  # type: ignore[arg-type]
    (lambda: TheServer("", 0, "a:1", filter=[]), ArgumentTypeError, "did you mean filters?"),  # type: ignore[call-arg]
    (lambda: filters.Hexdump(width=0), ConfigError, "width: it is below 1"),
    (lambda: filters.Hexdump(columns=8), ArgumentTypeError, "did you mean width?"),  # type: ignore[call-arg]
    (lambda: filters.Text(truncate=0), ConfigError, "truncate"),
    (lambda: filters.Text(direction="up"), ConfigError, "direction"),  # type: ignore[arg-type]
    (lambda: filters.Text(object()), ArgumentTypeError, "file"),  # type: ignore[arg-type]
    (lambda: filters.Text(""), ConfigError, "file: the path is empty"),
    (lambda: filters.Text(True), ArgumentTypeError, "file"),
    (lambda: filters.Text("/no/such/folder/x"), FileNotFoundError, "/no/such/folder/x"),
    (lambda: filters.Filter(), ArgumentTypeError, "filters.Hexdump()"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_filters_are_answered_in_one_line_with_the_right_ones(case: int) -> None:
    make, kind, words = WRONG[case]
    with pytest.raises(kind) as raised:
        make()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_waits_for_no_output(tmp_path: Path) -> None:
    text = """
        import os, time
        from interpose import TheServer, filters
        from support.peers import Echo, connect, echo
        import threading
        reader, writer = os.pipe()
        read_on = threading.Event()
        def read():
            read_on.wait()
            while os.read(reader, 1 << 20):
                pass
        threading.Thread(target=read, daemon=True).start()
        with Echo() as upstream, TheServer("", 0, upstream.address, filters=[filters.Hexdump(writer)]) as server:
            with connect(server.address) as client:
                for _ in range(40):
                    echo(client, b"x" * 10_000)
                child = os.fork()
                if child == 0:
                    raise SystemExit
                begin = time.monotonic()
                os.waitpid(child, 0)
                print(time.monotonic() - begin < 0.4)
                read_on.set()
    """
    assert passes(tmp_path, text).startswith("True")
