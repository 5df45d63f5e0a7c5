"""Which thread calls, and that it is an ordinary one: thread-locals, databases, debuggers and tracers work."""

from __future__ import annotations

import asyncio
import contextvars
import faulthandler
import io
import pdb
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks, Connection, Relay, Side, TheServer
from support.addresses import address_of
from support.callbacks import CloseRecorder, from_data, without_arguments
from support.deadline import poll
from support.exchanges import exchange, in_thread, served_by_main_loop
from support.peers import Echo, connect
from support.peers import echo as echoed

HOOKS = ("on_accept", "on_connect", "on_recv", "on_eof", "on_close")


def noting(threads: set[threading.Thread]) -> dict[str, Any]:
    """Hooks of every kind that note the thread they are called on."""

    def note(*_: Any) -> None:
        threads.add(threading.current_thread())

    return dict.fromkeys(HOOKS, note)


def in_main_loop(echo: Echo, **hooks: Any) -> None:
    """Exchange a few bytes through a server whose main loop is this thread."""
    server = TheServer("", 0, echo.address, **hooks)
    assert served_by_main_loop(server, lambda: exchange(server)) == []


def test_main_loop_calls_in_its_own_thread(echo: Echo) -> None:
    threads: set[threading.Thread] = set()
    in_main_loop(echo, **noting(threads))
    assert threads == {threading.current_thread()}


def test_main_loop_in_another_thread(echo: Echo) -> None:
    threads: set[threading.Thread] = set()
    server = TheServer("", 0, echo.address, **noting(threads))
    thread = in_thread(server.main_loop)
    assert exchange(server) == ("eof", b"abc")
    server.stop()
    thread.join(10.0)
    assert threads == {thread}


def test_start_makes_a_python_thread_by_name(echo: Echo, serve: Serve) -> None:
    threads: set[threading.Thread] = set()
    server = serve(echo.address, **noting(threads))
    for _ in range(5):
        exchange(server)
    server.stop()
    (thread,) = threads
    assert thread.name == "interpose-lane-0"
    assert type(thread) is threading.Thread
    assert not thread.is_alive()


def test_two_servers_have_two_threads(echo: Echo, serve: Serve) -> None:
    both: list[set[threading.Thread]] = [set(), set()]
    for threads in both:
        exchange(serve(echo.address, **noting(threads)))
    assert all(len(threads) == 1 for threads in both)
    assert both[0] != both[1]


@pytest.mark.parametrize("here", [True, False], ids=["main_loop", "start"])
def test_connections_spread_over_threads_and_stay(here: bool, echo: Echo) -> None:
    lanes = 3
    threads: dict[int, set[threading.Thread]] = {}

    def note(argument: Connection | Side, data: bytes = b"") -> None:
        conn = argument if isinstance(argument, Connection) else argument.connection
        threads.setdefault(conn.id, set()).add(threading.current_thread())

    ends = CloseRecorder()

    def on_close(conn: Connection) -> None:
        note(conn)
        ends(conn)

    server = TheServer(
        "",
        0,
        echo.address,
        callbacks=Callbacks(threads=lanes),
        on_accept=note,
        on_recv=note,
        on_eof=note,
        on_close=on_close,
    )

    def work() -> None:
        clients = [connect(address_of(server)) for _ in range(4 * lanes)]
        for _ in range(5):
            assert [echoed(client, b"abc") for client in clients] == [b"abc"] * len(clients)
        for client in clients:
            client.close()
        ends.wait(4 * lanes)

    if here:
        assert served_by_main_loop(server, work) == []
    else:
        with server:
            work()
    assert all(len(seen) == 1 for seen in threads.values())
    used = [next(iter(seen)) for seen in threads.values()]
    # The one with the fewest connections takes the next.
    assert sorted(used.count(thread) for thread in set(used)) == [4] * lanes
    assert (threading.current_thread() in used) is here


def test_callbacks_of_different_threads_run_at_once(echo: Echo, serve: Serve) -> None:
    barrier = threading.Barrier(3)
    server = serve(
        echo.address,
        on_client_recv=from_data(lambda data: data * bool(barrier.wait(20.0) + 1)),
        callbacks=Callbacks(threads=3),
    )
    clients = [connect(address_of(server)) for _ in range(3)]
    for client in clients:
        client.sendall(b"abc")
    assert [client.recv(3) for client in clients] == [b"abc"] * 3
    for client in clients:
        client.close()


def test_cb_27_what_belongs_to_the_thread_is_there(echo: Echo) -> None:
    """CB-27: Callbacks of main_loop() run on its own thread, with all that belongs to that.

    Made before main_loop(): a thread-local value, a context variable, a database that insists on its thread.
    """
    local = threading.local()
    local.value = "mine"
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("set before")
    database = sqlite3.connect(":memory:")
    database.execute("create table chunks (data blob, value text, variable text)")

    def on_recv(side: Side, data: bytes) -> None:
        database.execute("insert into chunks values (?, ?, ?)", (data, local.value, variable.get()))
        variable.set("set in a callback")

    try:
        in_main_loop(echo, on_recv=on_recv)
        rows = database.execute("select * from chunks").fetchall()
    finally:
        database.close()
    assert rows == [(b"abc", "mine", "set before"), (b"abc", "mine", "set in a callback")]
    assert variable.get() == "set in a callback"


def test_asyncio_run_in_a_callback(echo: Echo) -> None:
    async def double(data: bytes) -> bytes:
        await asyncio.sleep(0)
        return data * 2

    seen: list[bytes] = []
    in_main_loop(echo, on_client_recv=from_data(lambda data: seen.append(asyncio.run(double(data)))))
    assert seen == [b"abcabc"]


@pytest.fixture
def untraced() -> Iterator[None]:
    """Whoever traces these tests traces on afterwards."""
    trace, profile = sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(trace)
    sys.setprofile(profile)
    threading.settrace(None)
    threading.setprofile(None)


def traced(side: Side, data: bytes) -> bytes:
    first = data.upper()
    return first + b"!"


LINES = {1, 2}


class Tracer:
    """What a coverage tool does: it notes the lines of one function."""

    def __init__(self) -> None:
        self.lines: set[int] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        if frame.f_code is not traced.__code__:
            return None
        if event == "line":
            self.lines.add(frame.f_lineno - frame.f_code.co_firstlineno)
        return self


@pytest.mark.parametrize("here", [True, False], ids=["main_loop", "start"])
def test_cb_31_lines_are_traced(here: bool, echo: Echo, untraced: None) -> None:
    tracer = Tracer()
    if here:
        sys.settrace(tracer)
        in_main_loop(echo, on_client_recv=traced)
    else:
        threading.settrace(tracer)
        with TheServer("", 0, echo.address, on_client_recv=traced) as server:
            assert exchange(server) == ("eof", b"ABC!")
    assert tracer.lines == LINES


@pytest.mark.parametrize("here", [True, False], ids=["main_loop", "start"])
def test_cb_31_calls_are_profiled(here: bool, echo: Echo, untraced: None) -> None:
    events: list[str] = []

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code is traced.__code__:
            events.append(event)

    if here:
        sys.setprofile(profile)
        in_main_loop(echo, on_client_recv=traced)
    else:
        threading.setprofile(profile)
        with TheServer("", 0, echo.address, on_client_recv=traced) as server:
            assert exchange(server) == ("eof", b"ABC!")
    sys.setprofile(None)
    assert events[0] == "call"
    assert events[-1] == "return"


def test_cb_31_a_debugger_in_a_callback(echo: Echo, untraced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """CB-31: Debuggers, tracers and profilers work in callbacks.

    breakpoint() stops there, steps, shows variables, and goes on; the connection waits.
    """
    said = io.StringIO()

    def debug() -> None:
        commands = io.StringIO("p data\nn\np answer\nw\nc\n")
        debugger = pdb.Pdb(stdin=commands, stdout=said, nosigint=True, readrc=False)
        debugger.set_trace(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]

    def on_client_recv(side: Side, data: bytes) -> bytes:
        breakpoint()
        answer = data.upper()
        return answer  # noqa: RET504

    monkeypatch.setattr(sys, "breakpointhook", debug)
    in_main_loop(echo, on_client_recv=on_client_recv)
    text = said.getvalue()
    assert "b'abc'" in text
    assert "b'ABC'" in text or "answer" in text
    assert "on_client_recv" in text


def test_faulthandler_shows_a_callback_with_the_lane_under_it(echo: Echo, serve: Serve) -> None:
    entered, let_go = threading.Event(), threading.Event()

    def waiting_callback(side: Side, data: bytes) -> None:
        entered.set()
        let_go.wait(30.0)

    server = serve(echo.address, on_client_recv=waiting_callback)
    with connect(address_of(server)) as client:
        client.sendall(b"abc")
        assert entered.wait(10.0)
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            text = file.read().decode()
        let_go.set()
        assert client.recv(3) == b"abc"
    assert "waiting_callback" in text
    assert "_lanes.py" in text


def test_enumerate_knows_the_lane(echo: Echo, serve: Serve) -> None:
    known: list[bool] = []
    exchange(serve(echo.address, on_client_recv=without_arguments(lambda: known.append(me() in threading.enumerate()))))
    assert known == [True]


def me() -> threading.Thread:
    return threading.current_thread()


def test_the_recursion_limit_starts_anew_with_each_callback(echo: Echo, serve: Serve) -> None:
    """What one has used up, the next has again, although the thread never leaves its frame."""

    def down(depth: int) -> int:
        return depth if depth == 0 else down(depth - 1)

    server = serve(echo.address, on_client_recv=from_data(lambda data: b"%d" % down(800)), relay=Relay(buffer_size=1))
    assert exchange(server, b"x" * 100) == ("eof", b"0" * 100)


def test_a_thread_that_is_started_in_a_callback(echo: Echo, serve: Serve) -> None:
    def on_client_recv(side: Side, data: bytes) -> bytes:
        other = side.other
        assert other is not None
        threading.Thread(target=lambda: other.send(data.upper())).start()
        return b""

    with connect(address_of(serve(echo.address, on_client_recv=on_client_recv))) as client:
        assert echoed(client, b"abc") == b"ABC"


def test_daemon_lanes_do_not_keep_the_process(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address, on_recv=from_data(lambda data: None))
    exchange(server)
    lanes = [thread for thread in threading.enumerate() if thread.name.startswith("interpose-lane")]
    assert lanes
    assert all(thread.daemon for thread in lanes)
    server.stop()
    poll(lambda: not any(thread.is_alive() for thread in lanes), 10.0, "the lanes have ended")
