"""The native log in `logging`: its thread, its level, and that nothing in it can move a terminal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Serve
from deadline import poll
from inet import turned_away, where
from peers import Address, Echo, connect
from peers import echo as echoed
from scripts import passes

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
    with connect(where(server)) as client:
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
    with connect(where(server)) as client:
        echoed(client, b"quiet")
    poll(lambda: server.stats.active == 0, 10.0, "the end")
    assert about_connections(caplog) == []
    LOGGER.setLevel(logging.DEBUG)

    def told() -> bool:
        with connect(where(server)) as client:
            echoed(client, b"told")
        return bool(about_connections(caplog))

    poll(told, 10.0, "the new level is in force")


@pytest.mark.usefixtures("level")
def test_a_level_of_a_child_logger_is_followed(echo: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(logging.WARNING)
    CONNECTIONS.setLevel(logging.DEBUG)
    server = serve(echo.address)
    with connect(where(server)) as client:
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
    refusing: Address, serve: Serve, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
            raise RuntimeError("a filter of the user's")

    logger = logging.getLogger("interpose.connection")
    broken = Broken()
    logger.addFilter(broken)
    try:
        assert turned_away(where(serve(refusing)))
        poll(lambda: "a filter of the user's" in capsys.readouterr().err, 10.0, "logging complains")
    finally:
        logger.removeFilter(broken)
    assert turned_away(where(serve(refusing)))
    poll(lambda: about_connections(caplog), 10.0, "the next record arrives")


def test_the_last_records_get_out_at_exit(tmp_path: Path) -> None:
    text = """
        import logging, socket, sys
        from interpose import TheServer
        from inet import turned_away
        from peers import address_of
        logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        server = TheServer("", 0, address_of(taken)).start()
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
        from inet import turned_away
        from peers import address_of
        entered = threading.Event()
        def stuck(record):
            entered.set()
            threading.Event().wait()
        # Not a handler: logging itself waits at exit for a handler's lock.
        logging.getLogger("interpose.connection").addFilter(stuck)
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        server = TheServer("", 0, address_of(taken)).start()
        turned_away(server.address)
        print(entered.wait(10))
        taken.close()
    """
    assert passes(tmp_path, text, seconds=10.0) == "True\n"
