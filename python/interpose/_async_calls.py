"""The calls of asynchronous callbacks by an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable

from . import _logging, _native
from ._callback_log import report_kept_loop
from ._crew import Crew, expect_no_end
from ._reads import Failure, Wish
from ._threads import Greenless, get_ident, start_thread

# Seconds that the tasks of an ended connection may take before its on_close is called, and those of a closed server
# before they are left alone.
_UNWIND_SECONDS = 1.0
# Seconds that connections may take to end in order once their loop is closed.
_LEAVE_SECONDS = 1.0
# A loop that has begun nothing for longer is logged, with the stack of what keeps it.
_KEPT_SECONDS = 1.0
# Of the keys of questions, those of one connection differ in these bits only.
_KEYS = 7

# Of the tasks of on_close.
_TASK_NAME = "interpose"

_logger = logging.getLogger("interpose.callback")


def runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether `loop` runs in the calling thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def _awaiting(awaitable: Awaitable[object]) -> object:
    """Await an awaitable that is no coroutine."""
    return await awaitable


_all: weakref.WeakSet[AsyncCalls] = weakref.WeakSet()


def report_kept_loops() -> None:
    """Log the loops that have begun nothing for a second although callbacks wait there, each once."""
    for calls in [*_all]:
        calls.check()


class _Reader:
    """Called by the loop when questions wait. The loop has the only reference, and drops it when it is closed."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self.is_watched = True

    def __call__(self) -> None:
        self._calls.drain(is_woken=True)

    def __del__(self) -> None:
        if self.is_watched:
            self._calls.lose_loop()


class AsyncCalls:
    """The asynchronous callbacks of one server, called in tasks of `loop`, each with a copy of `context`.

    All methods but the constructor belong to the loop's thread.
    """

    def __init__(
        self,
        native: _native.Server,
        table: _native.Callbacks,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        *,
        is_own: bool = False,
    ) -> None:
        self._native = native
        self._loop = loop
        self._context = context
        self._crew = Crew(loop)
        # The seconds of an on_close; the core bounds the other callbacks.
        self._limit = table.timeout
        # Of callbacks that wait, by the key of its question. The loop itself keeps no task alive.
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._bridge = _native.Bridge(table, native, _awaiting, context, self._tasks, is_own)
        # The reads that wait for bytes, by their keys.
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._last_read = 0
        self._guard: AsyncGenerator[None] | None = None
        self._is_ended = False
        # Since when the loop has not called back; None if it is not asked to.
        self._asked_at: float | None = None
        self._is_reported = False
        self._is_busy = False
        self.over = asyncio.Event()
        """Set once the server is closed."""
        self.thread = 0
        """The loop's thread, as get_ident() returns it."""

    def watch(self) -> threading.Thread | Greenless | None:
        """Take questions from here on. Return a thread that helps the loop."""
        self.thread = get_ident()
        self._bridge.enter()
        _all.add(self)
        _logging.check_each_second(report_kept_loops)
        self._guard = self._until_loop_ends()
        # Begun here, so that the loop knows it and closes it before itself.
        with contextlib.suppress(StopIteration):
            self._guard.__anext__().send(None)
        number = self._bridge.fileno()
        if number is not None:
            reader = _Reader(self)
            try:
                self._context.run(self._loop.add_reader, number, reader)
            except NotImplementedError:
                reader.is_watched = False
            else:
                return None
        return start_thread("interpose-wake", self._waker())

    def drain(self, is_woken: bool = False) -> None:
        """Begin what was asked since the last call, and cancel what nobody waits for any more."""
        if self._is_ended:
            return
        tasks, loop = self._tasks, self._loop
        self._is_busy = True
        try:
            closed, cancelled, read, looks_again, is_over, raised = _native.answer_questions(
                self._bridge, self._crew, is_woken
            )
        finally:
            self._is_busy = False
        for question in closed:
            tasks[question.key] = asyncio.Task(self._run_close(question), loop=loop, name=_TASK_NAME)
        if looks_again:
            # More is asked by then, while there is much traffic: nobody has to wake the loop for it.
            loop.call_soon(self.drain)
        for key in cancelled:
            if (task := tasks.get(key)) is not None:
                task.cancel()
        # Behind those: a callback whose connection has ended is cancelled, and its read not refused.
        for key in read:
            if (waiting := self._reads.get(key)) is not None and not waiting.done():
                waiting.set_result(None)
        if is_over:
            self._unwatch()
            self.over.set()
        if raised is not None:
            # Those that end the server come out of the loop that a script runs, as any task's do.
            raise raised

    def check(self) -> None:
        """In another thread: log that the loop is kept, if it has not called back for a second."""
        asked_at = self._asked_at
        if asked_at is None:
            if self._is_ended or not (self._tasks or self._is_busy):
                return
            self._asked_at, self._is_reported = time.monotonic(), False
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._call_back)
        elif not self._is_reported and (taken := time.monotonic() - asked_at) >= _KEPT_SECONDS:
            self._is_reported = True
            report_kept_loop(self._bridge.running, taken, self.thread)

    def _call_back(self) -> None:
        self._asked_at = None

    async def read(self, native: _native.Connection, is_client: bool, wish: Wish) -> bytes | Failure:
        """Return what a side has sent, or why it cannot be read. Bytes that a cancelled read has taken are put back."""
        key = self._last_read = self._last_read + 1
        reading = _native.Reading(self._bridge, key, native, is_client, *wish)
        result = reading.take()
        if result is None:
            waiting = self._reads[key] = self._loop.create_future()
            try:
                await waiting
            except BaseException:
                reading.withdraw()
                raise
            finally:
                del self._reads[key]
            result = reading.take()
        return ("closed", 0, "") if result is None else result

    async def finish(self) -> None:
        """Take no more questions, and end the tasks that are left."""
        self._unwatch()
        tasks = [task for task in self._tasks.values() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_UNWIND_SECONDS)

    def lose_loop(self) -> None:
        """End what was asked: the loop was closed before the server, and runs no task any more."""
        if self._is_ended:
            return
        self._unwatch(is_closed=True)
        for task in [*self._tasks.values()]:
            # Nobody can run it to its end any more, and nobody has forgotten it.
            expect_no_end(task, expects=True)
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self._tasks.clear()
        self._say_lost()

    async def _until_loop_ends(self) -> AsyncGenerator[None]:
        """Wait for the loop to end its generators, as asyncio.run() has it do after it has cancelled all tasks."""
        try:
            yield
        finally:
            if not self._is_ended:
                await self.finish()
                self._say_lost()

    def _say_lost(self) -> None:
        if self._native.is_closed or sys.is_finalizing():
            return
        if not self._native.stopping:
            _logger.warning("%s: the event loop of its async callbacks was closed, so it stops", self._bridge.name)
        self._native.stop(_LEAVE_SECONDS, leave=True)

    def _unwatch(self, *, is_closed: bool = False) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self._crew.end()
        self._bridge.wake_answered()
        number = self._bridge.fileno()
        if number is not None and not is_closed:
            with contextlib.suppress(NotImplementedError, RuntimeError):
                self._loop.remove_reader(number)
        self._bridge.close()
        self._bridge.leave()
        if self._guard is not None:
            with contextlib.suppress(StopIteration, RuntimeError):
                # Nothing in it waits now.
                self._guard.aclose().send(None)

    async def _run_close(self, question: _native.Asking) -> None:
        """Call on_close, after the tasks of its connection: they were cancelled, and may take a moment."""
        first = question.key & ~_KEYS
        others = [task for key in range(first, question.key) if (task := self._tasks.get(key)) is not None]
        if others:
            await asyncio.wait(others, timeout=_UNWIND_SECONDS)
        try:
            async with asyncio.timeout(self._limit) as limit:
                await question
            if limit.expired():
                question.late()
        finally:
            del self._tasks[question.key]

    def _waker(self) -> Callable[[], None]:
        """Return what a thread does for a loop that can watch no descriptor."""
        bridge, loop, drained = self._bridge, self._loop, threading.Event()

        def drain() -> None:
            drained.set()
            self.drain()

        def run() -> None:
            while bridge.wait():
                drained.clear()
                try:
                    loop.call_soon_threadsafe(drain, context=self._context)
                except RuntimeError:
                    self.lose_loop()
                    return
                # Not for ever: a loop that is closed drops what it was to call.
                while not drained.wait(1.0) and not loop.is_closed():
                    pass

        return run


class OwnLoop:
    """A loop in a thread of its own, for the callbacks of one server."""

    def __init__(self, native: _native.Server, table: _native.Callbacks, context: contextvars.Context) -> None:
        self._arguments = (native, table, context)
        self._ready = threading.Event()
        self._calls: AsyncCalls | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Run the loop in the calling thread until the server is closed."""
        asyncio.run(self._serve())

    def wait(self) -> AsyncCalls:
        """Wait until the loop runs, or raise what has kept it from that."""
        self._ready.wait()
        if self._calls is None:
            raise self._error or RuntimeError("the event loop has ended")
        return self._calls

    async def _serve(self) -> None:
        native, table, context = self._arguments
        try:
            calls = AsyncCalls(native, table, asyncio.get_running_loop(), context, is_own=True)
            calls.watch()
            self._calls = calls
        except BaseException as error:  # noqa: BLE001
            self._error = error
            return
        finally:
            self._ready.set()
        await calls.over.wait()
        await calls.finish()
