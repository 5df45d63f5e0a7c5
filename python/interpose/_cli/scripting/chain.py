"""The hooks of several scripts as those of one: called in their order, each with what the one before has left."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from ..._coroutine_functions import is_async
from ..._hooks import HOOKS

_Hook: TypeAlias = Callable[..., Any]
# Yields what hooks answered, is sent what that is once awaited, and returns the answer of all.
_Steps: TypeAlias = Generator[object, object, object]


def chained(scripts: Sequence[Mapping[str, _Hook]]) -> dict[str, _Hook]:
    """Return the hooks of all scripts, by name. A hook that one script alone has is called as it is."""
    used = [hooks for hooks in scripts if hooks]
    if len(used) < 2:
        return dict(used[0]) if used else {}
    found = {name: [hooks[name] for hooks in used if name in hooks] for name in HOOKS if not name.endswith("recv")}
    of_client = _data_hooks(used, "on_client_recv")
    of_upstream = _data_hooks(used, "on_upstream_recv")
    if of_client == of_upstream:
        found["on_recv"] = of_client
    else:
        found |= {"on_client_recv": of_client, "on_upstream_recv": of_upstream}
    return {name: _one(_STEPS[name], hooks) for name, hooks in found.items() if hooks}


def _data_hooks(scripts: Sequence[Mapping[str, _Hook]], name: str) -> list[_Hook]:
    found = [hooks.get(name) or hooks.get("on_recv") for hooks in scripts]
    return [hook for hook in found if hook is not None]


def _one(steps: Callable[..., _Steps], hooks: list[_Hook]) -> _Hook:
    if len(hooks) == 1:
        return hooks[0]

    def call(*arguments: Any) -> object:
        running = steps(hooks, *arguments)
        try:
            answer = next(running)
            while not inspect.isawaitable(answer):
                answer = running.send(answer)
        except StopIteration as end:
            return end.value
        return _go_on(running, answer)

    async def call_async(*arguments: Any) -> object:
        running = steps(hooks, *arguments)
        return await _go_on(running, next(running))

    return call_async if any(map(is_async, hooks)) else call


async def _go_on(running: _Steps, answer: object) -> object:
    try:
        while True:
            if inspect.isawaitable(answer):
                answer = await cast("Awaitable[object]", answer)
            answer = running.send(answer)
    except StopIteration as end:
        return end.value


def _data(hooks: list[_Hook], side: object, data: object) -> _Steps:
    pieces: list[object] = [data]
    has_changed = False
    for hook in hooks:
        left: list[object] = []
        for piece in pieces:
            answer = yield hook(side, piece)
            if answer is None:
                left.append(piece)
                continue
            has_changed = True
            left += cast("Sequence[object]", answer) if isinstance(answer, (list, tuple)) else [answer]
        # Nothing is left of what was dropped for the scripts behind.
        pieces = [piece for piece in left if piece != b""]
    if not has_changed:
        return None
    return pieces or b""


def _decision(hooks: list[_Hook], *arguments: object) -> _Steps:
    """Return the first answer that decides."""
    for hook in hooks:
        answer = yield hook(*arguments)
        if answer is not None:
            return answer
    return None


def _all(hooks: list[_Hook], conn: object) -> _Steps:
    """Call each, also behind one that raises; raise the first exception then."""
    first: Exception | None = None
    for hook in hooks:
        try:
            yield hook(conn)
        except Exception as error:  # noqa: BLE001 (it is raised below)
            first = first or error
    if first is not None:
        raise first
    return None


def _end(hooks: list[_Hook], side: object) -> _Steps:
    """Return the bytes of all that add some; False if one withholds the end."""
    added: list[object] = []
    for hook in hooks:
        answer = yield hook(side)
        if answer is False:
            return False
        if answer is not None:
            added += cast("Sequence[object]", answer) if isinstance(answer, (list, tuple)) else [answer]
    return added or None


_STEPS: dict[str, Callable[..., _Steps]] = {
    "on_accept": _decision,
    "on_preread": _decision,
    "on_connect": _all,
    "on_recv": _data,
    "on_client_recv": _data,
    "on_upstream_recv": _data,
    "on_eof": _end,
    "on_close": _all,
}
