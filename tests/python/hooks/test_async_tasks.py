"""The tasks of asynchronous callbacks: which is the current one, what it keeps, and what reaches another callback."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import importlib
import importlib.util
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Serve
from interpose import Connection, Side, TheServer
from interpose._crew import Crew
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo, connect, read_exactly
from support.peers import echo as echoed

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")


def ask(server: TheServer, *words: bytes) -> None:
    """Have the callbacks called with each of `words`, one after the other, in one connection."""
    with connect(address_of(server)) as client:
        for word in words:
            assert echoed(client, word) == word


def test_a_variable_that_one_callback_sets_is_seen_by_no_other(echo: Echo, serve: Serve) -> None:
    seen: list[tuple[bytes, str, str]] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        before = variable.get()
        variable.set(data.decode())
        if data == b"waits":
            await asyncio.sleep(0)
            await asyncio.get_running_loop().create_task(later(data))
        seen.append((data, before, variable.get()))

    async def later(data: bytes) -> None:
        seen.append((data, "in its task", variable.get()))
        variable.set("of the task")

    ask(serve(echo.address, on_client_recv=on_client_recv), b"one", b"two", b"waits", b"three")
    assert seen == [
        (b"one", "clean", "one"),
        (b"two", "clean", "two"),
        (b"waits", "in its task", "waits"),
        (b"waits", "clean", "waits"),
        (b"three", "clean", "three"),
    ]


class Tasks:
    """A callback that notes its task, before and after a wait if it is to wait."""

    def __init__(self, *, waits: bool = False) -> None:
        self.waits = waits
        self.ids: list[int] = []
        self.states: list[tuple[bool, ...]] = []

    def note(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.ids.append(id(task))
        coroutine: Any = task.get_coro()
        is_waiting = hasattr(coroutine, "cr_frame") and inspect.getcoroutinestate(coroutine) == inspect.CORO_RUNNING
        self.states.append((task in asyncio.all_tasks(), task.get_name() == "interpose", is_waiting))

    async def __call__(self, side: Side, data: bytes) -> None:
        self.note()
        if self.waits:
            await asyncio.sleep(0)
            self.note()


def test_callbacks_that_do_not_wait_share_a_task(echo: Echo, serve: Serve) -> None:
    tasks = Tasks()
    ask(serve(echo.address, on_client_recv=tasks), b"1", b"2", b"3")
    assert len(set(tasks.ids)) == 1
    assert set(tasks.states) == {(True, True, False)}


def test_a_callback_that_waits_keeps_its_task(echo: Echo, serve: Serve) -> None:
    tasks = Tasks(waits=True)
    ask(serve(echo.address, on_client_recv=tasks), b"1", b"2")
    assert (tasks.ids[0], tasks.ids[2]) == (tasks.ids[1], tasks.ids[3])
    assert tasks.states == [(True, True, False), (True, True, True)] * 2


def keep(task: asyncio.Task[Any]) -> None:
    kept.append(task)


kept: list[asyncio.Task[Any]] = []
MARKS: dict[str, Callable[[asyncio.Task[Any]], object]] = {
    "kept": keep,
    "cancelled": lambda task: task.cancel(),
    "named": lambda task: task.set_name("mine"),
    "called back": lambda task: task.add_done_callback(lambda _: None),
    "given an attribute": lambda task: setattr(task, "mine", 1),
}


@pytest.mark.parametrize("mark", MARKS)
def test_a_task_that_carries_something_serves_for_no_other_callback(mark: str, echo: Echo, serve: Serve) -> None:
    found: list[tuple[object, ...]] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        task: Any = asyncio.current_task()
        found.append((task in kept, task.cancelling(), task.get_name(), hasattr(task, "mine")))
        if data == b"marks":
            task.add_done_callback(note_end)
            MARKS[mark](task)

    def note_end(_: asyncio.Task[Any]) -> None:
        ended.set()

    ended = threading.Event()
    kept.clear()
    ask(serve(echo.address, on_client_recv=on_client_recv), b"a", b"marks", b"b")
    assert set(found) == {(False, 0, "interpose", False)}
    assert ended.wait(10)
    assert all(task.done() for task in kept)
    kept.clear()


def test_time_limits_and_groups_within_a_callback(echo: Echo, serve: Serve) -> None:
    seen: list[str] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("timeout")
        # Over before the callback's first wait would be.
        async with asyncio.timeout(60):
            await done()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.shield(asyncio.sleep(0.05))
        async with asyncio.TaskGroup() as group:
            group.create_task(note("in a group"))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        except* ValueError:
            seen.append("failed in a group")
        task = asyncio.current_task()
        assert task is not None
        seen.append(f"{task.cancelling()}")

    async def note(word: str) -> None:
        seen.append(word)

    async def done() -> None:
        pass

    async def fail() -> None:
        raise ValueError

    ask(serve(echo.address, on_client_recv=on_client_recv), b"a", b"b")
    assert seen == ["timeout", "in a group", "failed in a group", "0"] * 2


def test_a_task_that_is_cancelled_before_it_stands_still_cancels_what_it_waits_for(echo: Echo, serve: Serve) -> None:
    seen: list[object] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        task = asyncio.current_task()
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert task is not None
        task.cancel("once")
        try:
            await (asyncio.sleep(0) if data == b"sleeps" else waited)
        except asyncio.CancelledError as error:
            seen.append((error.args, waited.cancelled(), task.uncancel()))

    ask(serve(echo.address, on_client_recv=on_client_recv), b"waits", b"sleeps", b"waits")
    assert seen == [(("once",), True, 0), (("once",), False, 0), (("once",), True, 0)]


def test_a_callback_may_await_its_own_kinds_of_awaitables(echo: Echo, serve: Serve) -> None:
    class Twice:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            yield from asyncio.sleep(0).__await__()
            return b"AWAITED"

    def on_client_recv(side: Side, data: bytes) -> Any:
        return Twice() if data == b"a" else asyncio.get_running_loop().create_future()

    async def wrong(side: Side, data: bytes) -> None:
        await bad()

    def bad() -> Any:
        return Bad()

    class Bad:
        def __await__(self) -> Any:
            yield 5

    ends = CloseRecorder()
    server = serve(echo.address, on_client_recv=on_client_recv, on_close=ends)
    with connect(address_of(server)) as client:
        client.sendall(b"a")
        assert read_exactly(client, 7) == b"AWAITED"
        server.on_client_recv = wrong
        client.sendall(b"b")
        assert "Task got bad yield: 5" in str(ends.wait().error)


def test_a_slow_part_is_logged_by_name_once(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    async def on_client_recv(side: Side, data: bytes) -> None:
        time.sleep(0.12)  # noqa: ASYNC251

    async def on_upstream_recv(side: Side, data: bytes) -> None:
        await asyncio.sleep(0)
        time.sleep(0.12)  # noqa: ASYNC251
        await asyncio.sleep(0.2)

    ask(serve(echo.address, on_client_recv=on_client_recv, on_upstream_recv=on_upstream_recv), b"a", b"b")
    callback_log.wait("on_upstream_recv: it took")
    (line,) = callback_log.lines("on_client_recv: it took")
    assert " ms, and its event loop stood still, with other async callbacks; await slow work" in line
    assert len(callback_log.lines("it took")) == 2


def test_the_others_of_a_batch_are_answered_where_one_raises_or_waits(echo: Echo, serve: Serve) -> None:
    """All wait in the queue when the loop looks."""
    stands, goes = threading.Event(), threading.Event()

    async def on_client_recv(side: Side, data: bytes) -> bytes:
        if data == b"stand":
            stands.set()
            goes.wait(10)
        if data == b"raise":
            raise ValueError
        if data == b"wait":
            await asyncio.sleep(0.001)
        return data

    server = serve(echo.address, on_client_recv=on_client_recv)
    with contextlib.ExitStack() as stack:
        words = [b"stand", b"pass", b"wait", b"raise", b"pass", b"wait", b"pass"]
        clients = [stack.enter_context(connect(address_of(server))) for _ in words]
        poll(lambda: server.stats.active == len(words), 10.0, "all are there")
        clients[0].sendall(words[0])
        assert stands.wait(10)
        for client, word in zip(clients[1:], words[1:], strict=True):
            client.sendall(word)
        poll(lambda: all(conn.to_upstream.read for conn in server.connections), 10.0, "all were asked")
        goes.set()
        for client, word in zip(clients, words, strict=True):
            if word == b"raise":
                with contextlib.suppress(ConnectionError):
                    assert client.recv(1) == b""
            else:
                assert read_exactly(client, len(word)) == word
    assert server.stats.callback_errors == 1


def test_no_task_is_left_by_the_loop_that_served(echo: Echo) -> None:
    tasks = Tasks()

    async def main() -> None:
        async with TheServer("", 0, echo.address, on_client_recv=tasks) as server:
            assert await asyncio.to_thread(exchange, server) == ("eof", b"abc")
            assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(0)

    asyncio.run(main(), debug=True)
    gc.collect()
    assert [one for one in gc.get_objects() if type(one).__name__ in ("_CallbackTask", "Worker", "Asking")] == []


def test_who_waits_for_all_tasks_does_not_wait_for_one_that_stands_still(echo: Echo) -> None:
    found: list[asyncio.Task[Any]] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        # Behind this turn of the loop, while it may look for more.
        asyncio.get_running_loop().call_soon(lambda: found.extend(asyncio.all_tasks()))

    async def main() -> None:
        main_task = asyncio.current_task()
        async with TheServer("", 0, echo.address, on_client_recv=on_client_recv) as server:
            ends = [asyncio.to_thread(exchange, server) for _ in range(8)]
            assert await asyncio.gather(*ends) == [("eof", b"abc")] * 8
            callbacks = [task for task in found if task is not main_task and task.get_name() == "interpose"]
            async with asyncio.timeout(10):
                await asyncio.gather(*callbacks)
            assert await asyncio.to_thread(exchange, server) == ("eof", b"abc")

    asyncio.run(main())


def test_a_loop_ends_while_the_task_that_stands_still_is_seen() -> None:
    crew: list[Crew] = []

    async def main() -> None:
        crew.append(Crew(asyncio.get_running_loop()))
        task, _ = crew[0].enter()
        assert asyncio.current_task() is task
        crew[0].rest()
        assert asyncio.all_tasks() == {asyncio.current_task(), task}

    # It cancels all tasks that it finds, and waits for them, after the loop was stopped.
    asyncio.run(main())
    crew[0].end()


@pytest.mark.skipif(importlib.util.find_spec("anyio") is None, reason="no anyio: pip install anyio")
@pytest.mark.parametrize("serving", ["anyio.run", "a loop of the server's own"])
def test_anyio_in_callbacks(serving: str, echo: Echo, serve: Serve) -> None:
    anyio: Any = importlib.import_module("anyio")
    seen: list[object] = []

    async def on_accept(conn: Connection) -> None:
        with anyio.fail_after(10):
            await anyio.sleep(0)
        seen.append(await anyio.to_thread.run_sync(lambda: "from a thread"))

    async def on_client_recv(side: Side, data: bytes) -> bytes:
        with anyio.move_on_after(0.001) as scope:
            await anyio.sleep(60)
        with anyio.move_on_after(60):
            pass
        with pytest.raises(TimeoutError), anyio.fail_after(0):
            await anyio.sleep(60)
        send, receive = anyio.create_memory_object_stream(1)
        async with anyio.create_task_group() as group:
            group.start_soon(send.send, data.upper())
            answer: bytes = await receive.receive()
            group.start_soon(anyio.sleep, 60)
            group.cancel_scope.cancel()
        send.close()
        receive.close()
        seen.append((scope.cancelled_caught, group.cancel_scope.cancel_called))
        return answer

    async def on_upstream_recv(side: Side, data: bytes) -> bytes:
        # Without a wait.
        with anyio.CancelScope() as scope:
            scope.cancel()
        return data + (b"!" if scope.cancel_called else b"")

    hooks: dict[str, Any] = {
        "on_accept": on_accept,
        "on_client_recv": on_client_recv,
        "on_upstream_recv": on_upstream_recv,
    }

    async def main() -> None:
        async with TheServer("", 0, echo.address, **hooks) as server:
            seen.append(await anyio.to_thread.run_sync(exchange, server))

    if serving == "anyio.run":
        anyio.run(main)
    else:
        seen.append(exchange(serve(echo.address, **hooks)))
    assert seen == ["from a thread", (True, True), ("eof", b"ABC!")]
