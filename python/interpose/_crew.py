"""The tasks in which asynchronous callbacks run: one for each that waits, and one for all that do not."""

from __future__ import annotations

import asyncio
import asyncio.tasks
import contextlib
from collections.abc import Callable
from contextvars import Context
from typing import Any

from . import _native

_NAME = "interpose"


class _CallbackTask(asyncio.Task[None]):
    """A task that notes what is done to it: then it serves for no other callback than the one that runs in it."""

    worker: _native.Worker

    def cancel(self, msg: Any | None = None) -> bool:
        self.worker.mark()
        return super().cancel(msg)

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        self.worker.mark()
        super().add_done_callback(fn, context=context)
        if not self.worker.kept and asyncio.current_task(self.get_loop()) is not self:
            # Somebody waits for it, and has found it in asyncio.all_tasks().
            self.worker.end()

    def set_name(self, value: object, /) -> None:
        self.worker.mark()
        super().set_name(value)

    def __setattr__(self, name: str, value: object) -> None:
        if name != "worker":
            self.worker.mark()
        super().__setattr__(name, value)


def expect_no_end(task: asyncio.Task[None], *, expects: bool) -> None:
    """Choose whether asyncio logs that nobody runs `task` any more."""
    object.__setattr__(task, "_log_destroy_pending", not expects)


class Crew:
    """Makes the tasks of one loop, and has one of them be the current one while callbacks run to their first waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Stands still without a callback, and is not seen in asyncio.all_tasks() once there is no traffic.
        self._spare: _CallbackTask | None = None
        self._is_shown = False
        # The one that is interrupted where a loop is run within a callback of itself.
        self._outer: asyncio.Task[Any] | None = None

    def enter(self) -> tuple[asyncio.Task[None], _native.Worker]:
        """Have a task be the current one. Return it, with its coroutine."""
        task = self._spare
        if task is None or task.worker.marked:
            self.end()
            task = self._spare = self._made()
        if not self._is_shown:
            asyncio.tasks._register_task(task)
            self._is_shown = True
        try:
            asyncio.tasks._enter_task(self._loop, task)
        except RuntimeError:
            self._outer = asyncio.current_task(self._loop)
            if self._outer is None:
                raise
            asyncio.tasks._leave_task(self._loop, self._outer)  # pyright: ignore
            asyncio.tasks._enter_task(self._loop, task)
        return task, task.worker

    def rest(self) -> None:
        """Have no task be the current one, until more is asked, which is soon. The one that was is kept for that."""
        self._left()

    def leave(self) -> None:
        """Have no task be the current one any more. The one that was is kept for other callbacks."""
        self._left()
        self.hide()

    def hide(self) -> None:
        """Have the task that stands still seen by nobody."""
        if self._is_shown and self._spare is not None:
            self._is_shown = False
            asyncio.tasks._unregister_task(self._spare)

    def keep(self) -> None:
        """Have no task be the current one: the one that was belongs to a callback that waits."""
        if (task := self._left()) is not None:
            self._spare = None
            self._is_shown = False
            expect_no_end(task, expects=False)

    def dismiss(self) -> None:
        """Have no task be the current one: the one that was ends, and serves for no other callback."""
        self.leave()
        self.end()

    def end(self) -> None:
        """End the task that stands still."""
        self.hide()
        task, self._spare = self._spare, None
        if task is not None:
            # A closed loop runs it no more.
            with contextlib.suppress(RuntimeError):
                task.worker.end()

    def _left(self) -> _CallbackTask | None:
        task = self._spare
        if task is not None:
            asyncio.tasks._leave_task(self._loop, task)
            if self._outer is not None:
                asyncio.tasks._enter_task(self._loop, self._outer)
                self._outer = None
        return task

    def _made(self) -> _CallbackTask:
        worker = _native.Worker(self._loop)
        task = _CallbackTask(worker, loop=self._loop, name=_NAME)
        task.worker = worker
        expect_no_end(task, expects=True)
        asyncio.tasks._unregister_task(task)
        return task
