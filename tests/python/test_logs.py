"""The native log in `logging`: its thread, its level, and that nothing in it can move a terminal."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Serve
from interpose import Side, TheServer
from support.addresses import address_of, turned_away
from support.deadline import poll
from support.peers import Address, Echo, connect, ending
from support.peers import echo as echoed
from support.scripts import passes

LOGGER = logging.getLogger("interpose")


CONNECTIONS = logging.getLogger("interpose.connection")


@pytest.fixture
def level() -> Iterator[None]:
    before = LOGGER.level, CONNECTIONS.level
    yield
    LOGGER.setLevel(before[0])
    CONNECTIONS.setLevel(before[1])


def about_connections(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "interpose.connection"]


@pytest.mark.usefixtures("level")
def test_debug_tells_each_opening_and_end(echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(logging.DEBUG)
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        name = f"127.0.0.1:{client.getsockname()[1]}"
        echoed(client, b"12345")
    poll(lambda: any("closed" in text for text in about_connections(caplog)), 10.0, "the end is logged")
    opening, *_, end = about_connections(caplog)
    assert name in opening
    assert "finished" in end
    assert end.count("5 ") >= 2


@pytest.mark.usefixtures("level")
def test_a_level_set_later_is_followed(echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(logging.WARNING)
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        echoed(client, b"quiet")
    poll(lambda: server.stats.active == 0, 10.0, "the end")
    assert about_connections(caplog) == []
    LOGGER.setLevel(logging.DEBUG)

    def told() -> bool:
        with connect(address_of(server)) as client:
            echoed(client, b"told")
        return bool(about_connections(caplog))

    poll(told, 10.0, "the new level is in force")


@pytest.mark.usefixtures("level")
def test_a_level_of_a_child_logger_is_followed(echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(logging.WARNING)
    CONNECTIONS.setLevel(logging.DEBUG)
    server = serve(echo.address)
    with connect(address_of(server)) as client:
        echoed(client, b"told")
    poll(lambda: any("closed" in text for text in about_connections(caplog)), 10.0, "the end is logged")
    # What only the child wants is no business of the others.
    assert not [record for record in caplog.records if record.name == "interpose.listener"]


def test_one_daemon_thread_carries_the_log(serve: Serve) -> None:
    serve("example.org:80")
    serve("example.org:80")
    carriers = [thread for thread in threading.enumerate() if thread.name == "interpose-log"]
    assert [thread.daemon for thread in carriers] == [True]


def test_a_filter_that_raises_does_not_end_the_log(
    refusing: Address,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A command that was tried in this process has switched that off.
    monkeypatch.setattr(logging, "raiseExceptions", True)

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
            raise RuntimeError("a filter of the user's")

    logger = logging.getLogger("interpose.connection")
    broken = Broken()
    logger.addFilter(broken)
    try:
        assert turned_away(address_of(serve(refusing)))
        poll(lambda: "a filter of the user's" in capsys.readouterr().err, 10.0, "logging complains")
    finally:
        logger.removeFilter(broken)
    assert turned_away(address_of(serve(refusing)))
    poll(lambda: about_connections(caplog), 10.0, "the next record arrives")


def test_the_last_records_get_out_at_exit(tmp_path: Path) -> None:
    text = """
        import logging, socket, sys
        from interpose import TheServer
        from support.addresses import turned_away
        from support.peers import bound_address
        logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        server = TheServer("", 0, bound_address(taken)).start()
        turned_away(server.address)
        taken.close()
    """
    assert "interpose.connection" in passes(tmp_path, text)


def test_a_record_is_one_line_and_inert(tmp_path: Path) -> None:
    # The only text of a peer's choosing in an address is the path that a Unix client bound.
    text = r"""
        import logging, os, socket, sys, threading
        from interpose import TheServer
        os.chdir(sys.argv[1])
        logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s")
        evil = "\x1b[2J\nforged line\x9b\u202e"
        with TheServer("unix:here", forward_to="unix:nowhere") as server, socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.bind(evil)
            client.connect("here")
            try:
                client.recv(1)
            except ConnectionError:
                pass
    """
    said = passes(tmp_path, text, str(tmp_path))
    assert "forged line" in said
    assert all(line.isprintable() for line in said.removesuffix("\n").split("\n"))
    assert not any(line.startswith("forged") for line in said.split("\n"))


def test_a_filter_that_hangs_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    text = """
        import logging, socket, threading
        from interpose import TheServer
        from support.addresses import turned_away
        from support.peers import bound_address
        entered = threading.Event()
        def stuck(record):
            entered.set()
            threading.Event().wait()
        # Not a handler: logging itself waits at exit for a handler's lock.
        logging.getLogger("interpose.connection").addFilter(stuck)
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        server = TheServer("", 0, bound_address(taken)).start()
        turned_away(server.address)
        print(entered.wait(10))
        taken.close()
    """
    assert passes(tmp_path, text, seconds=10.0) == "True\n"


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("way", ["with", "stop", "main_loop", "async with", "serve_forever"])
def test_what_happened_inside_is_in_the_log_when_the_block_is_over(
    way: str, refusing: Address, caplog: pytest.LogCaptureFixture
) -> None:
    LOGGER.setLevel(logging.DEBUG)
    for _ in range(20):
        caplog.clear()
        server = TheServer("", 0, refusing)
        client = functools.partial(turned_away, address_of(server))
        if way == "with":
            with server:
                client()
        elif way == "stop":
            server.start()
            client()
            server.stop()
        elif way == "main_loop":
            ended = in_thread_and_stop(client, server)
            server.main_loop()
            ended.join(10.0)
        else:
            asyncio.run(in_a_loop(server, client, forever=way == "serve_forever"))
        said = "\n".join(about_connections(caplog))
        assert "refused" in said
        assert "closed (refused)" in said
        assert [record for record in caplog.records if record.getMessage().endswith(": closed")]


def in_thread_and_stop(client: Callable[[], object], server: TheServer) -> threading.Thread:
    def run() -> None:
        client()
        server.stop()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


async def in_a_loop(server: TheServer, client: Callable[[], object], *, forever: bool) -> None:
    if forever:
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.to_thread(client)
        await asyncio.to_thread(server.stop)
        await serving
    else:
        async with server:
            await asyncio.to_thread(client)


class Blocked(logging.Handler):
    """A handler that does not return until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.entered.set()
        self.let_go.wait(30.0)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    handler, logger = Blocked(), logging.getLogger("interpose.callback")
    logger.addHandler(handler)
    yield handler
    handler.let_go.set()
    logger.removeHandler(handler)


def blunder(side: Side, data: bytes) -> None:
    if data == b"fail":
        raise ValueError("of the user's")


def test_a_handler_that_blocks_holds_up_no_byte_and_no_stop(
    blocked: Blocked, echo: Echo, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(echo.address, on_client_recv=blunder)
    with connect(address_of(server)) as other:
        for _ in range(5):
            with connect(address_of(server)) as client:
                client.sendall(b"fail")
                assert ending(client) == ("reset", b"")
        assert blocked.entered.wait(10.0)
        for number in range(50):
            assert echoed(other, b"%d" % number) == b"%d" % number
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 3.0
    poll(lambda: "has not returned for" in capfd.readouterr().err, 10.0, "it is said on standard error")


def test_a_handler_that_was_slow_is_warned_about(
    blocked: Blocked, echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Once a minute only, and another test may have had it said.
    monkeypatch.setattr("interpose._logging._slow_since", -60.0)
    server = serve(echo.address, on_client_recv=blunder)
    with connect(address_of(server)) as client:
        client.sendall(b"fail")
        assert blocked.entered.wait(10.0)
        assert ending(client) == ("reset", b"")
    time.sleep(0.15)  # what is warned about
    blocked.let_go.set()

    def warned() -> list[str]:
        return [
            one.getMessage()
            for one in caplog.records
            if "a handler of the logger interpose.callback took" in one.getMessage()
        ]

    assert " ms; other log lines waited, and no connection" in poll(warned, 10.0, "the warning")[0]


def test_a_handler_may_stop_the_server_that_it_hears_of(refusing: Address, serve: Serve) -> None:
    server = serve(refusing)
    stopped = threading.Event()

    class Stops(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            server.stop(0)
            stopped.set()

    handler = Stops()
    CONNECTIONS.addHandler(handler)
    try:
        assert turned_away(address_of(server))
        assert stopped.wait(5.0)
    finally:
        CONNECTIONS.removeHandler(handler)


def test_lines_that_find_no_room_are_counted(tmp_path: Path) -> None:
    text = """
        import logging, threading
        from interpose import TheServer
        from interpose._logging import queue
        entered, let_go = threading.Event(), threading.Event()
        class Blocked(logging.Handler):
            def emit(self, record):
                entered.set()
                let_go.wait(10)
                print(record.getMessage()) if "dropped" in record.getMessage() else None
        logging.getLogger("interpose").addHandler(Blocked())
        server = TheServer("", 0, "127.0.0.1:9").start()
        queue(lambda: logging.getLogger("interpose").warning("first"))
        entered.wait(10)
        for _ in range(1500):
            queue(lambda: None)
        let_go.set()
        server.stop(0)
    """
    assert passes(tmp_path, text) == "lines were dropped: more than 1024 waited to be logged\n"
