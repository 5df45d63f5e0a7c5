"""Starts that fail half-way: nothing is served, nothing is left, and it can be tried again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from interpose import Callbacks, RuntimeStartError, Side, TheServer
from support.addresses import address_of
from support.deadline import poll
from support.peers import Echo, connect
from support.peers import echo as echoed
from support.scripts import passes


def refuse(patch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Have the thread of this name fail to start."""
    start = threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if thread.name == name:
            raise error
        start(thread)

    patch.setattr(threading.Thread, "start", refusing)


def upper(_: Side, data: bytes) -> bytes:
    return data.upper()


def lanes() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("interpose-lane")]


def serves_upper(server: TheServer) -> bool:
    with connect(address_of(server)) as client:
        return echoed(client, b"abc") == b"ABC"


def main_loop(server: TheServer) -> None:
    server.main_loop()


def start(server: TheServer) -> None:
    server.start()


@pytest.mark.parametrize("begin", [start, main_loop])
@pytest.mark.parametrize("failing", [0, 1, 2, 3])
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=["thread", "memory"])
def test_a_start_that_finds_no_thread_can_be_tried_again(
    begin: Callable[[TheServer], None],
    failing: int,
    error: Exception,
    echo: Echo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if begin is main_loop and failing == 0:
        pytest.skip("the first lane of a main loop is its own thread")
    server = TheServer("", 0, echo.address, on_client_recv=upper, callbacks=Callbacks(threads=4))
    with monkeypatch.context() as patch:
        refuse(patch, f"interpose-lane-{failing}", error)
        with pytest.raises(RuntimeStartError, match="raise the limit of processes"):
            begin(server)
    poll(lambda: not lanes(), 10.0, "those that had started are gone")
    assert repr(server).endswith("listening>")
    with server:
        # One for each lane.
        assert [serves_upper(server) for _ in range(4)] == [True] * 4


def test_an_interrupted_start_can_be_tried_again(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    server = TheServer("", 0, echo.address, on_client_recv=upper, callbacks=Callbacks(threads=2))
    with monkeypatch.context() as patch:
        refuse(patch, "interpose-lane-1", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            server.start()
    poll(lambda: not lanes(), 10.0, "those that had started are gone")
    with server:
        assert serves_upper(server)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of one process")
@pytest.mark.parametrize("begin", ["server.start()", "server.main_loop()", "server.__enter__()"])
def test_a_start_that_finds_no_descriptor_can_be_tried_again(begin: str, tmp_path: Path) -> None:
    """At each number of descriptors that are left: too few for the I/O threads, for the lane, and enough."""
    text = """
        import os, resource, sys, threading
        from support.deadline import poll
        from interpose import Limits, RuntimeStartError, TheServer
        from support.peers import Echo, connect, echo
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        refused = []
        with Echo() as upstream:
            server = TheServer("", 0, upstream.address, limits=Limits(10))
            server.on_client_recv = lambda side, data: data.upper()
            highest = max(map(int, os.listdir("/proc/self/fd")))
            def begin():
                try:
                    exec(sys.argv[1])
                except RuntimeStartError as error:
                    refused.append(str(error))
            for left in range(1, 200):
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + left, hard[1]))
                thread = threading.Thread(target=begin)
                thread.start()
                poll(lambda: len(refused) == left or ", started>" in repr(server), 10.0, "a refusal, or a start")
                if len(refused) < left:
                    break
                thread.join()
            resource.setrlimit(resource.RLIMIT_NOFILE, hard)
            assert refused and all("raise the limit" in text for text in refused), refused
            with connect(server.address) as client:
                print(echo(client, b"abc"))
            server.stop(0)
            thread.join()
    """
    assert passes(tmp_path, text, begin) == "b'ABC'\n"


DESCRIPTORS = """
    import os, sys, threading
    from support.deadline import poll
    from interpose import TheServer
    from support.peers import Echo, connect, echo
    def upper(side, data):
        return data.upper()
    def said(server):
        with connect(server.address) as client:
            return echo(client, b"abc")
    def open_files():
        return len(os.listdir("/proc/self/fd"))
    def lanes():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("interpose-lane")]
    upstream = Echo()
    with TheServer("", 0, upstream.address) as server:
        said(server)
    poll(lambda: len(upstream._selector.get_map()) == 2, 10.0, "the upstream has closed it")
    before = open_files()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_what_is_native_has_its_listener_only_and_nothing_once_stopped(tmp_path: Path) -> None:
    text = """
        kept = [TheServer("", 0, upstream.address) for _ in range(50)]
        print(open_files() - before)
        for server in kept:
            server.start()
        print(said(kept[0]), lanes())
        for server in kept:
            server.stop(0)
        poll(lambda: open_files() == before, 10.0, "nothing is left of those that are kept")
    """
    assert passes(tmp_path, dedent(DESCRIPTORS) + dedent(text)) == "50\nb'abc' []\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
@pytest.mark.parametrize("given", ["before", "later", "never started", "after the stop"])
def test_a_stopped_server_with_callbacks_holds_no_descriptor(given: str, tmp_path: Path) -> None:
    text = """
        kept = [TheServer("", 0, upstream.address) for _ in range(5)]
        for server in kept:
            if sys.argv[1] in ("before", "never started"):
                server.on_client_recv = upper
            if sys.argv[1] == "after the stop":
                server.start()
                server.stop(0)
                server.on_client_recv = upper
            elif sys.argv[1] != "never started":
                server.start()
                server.on_client_recv = upper
                assert said(server) == b"ABC"
            server.stop(0)
        poll(lambda: open_files() == before, 10.0, "nothing is left of those that are kept")
    """
    assert passes(tmp_path, dedent(DESCRIPTORS) + dedent(text), given) == ""
