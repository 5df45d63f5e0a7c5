"""The script of one side of a conversation: what it says, and what it hears in between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, TypeAlias

from ._conversation import BY_CLIENT, BY_UPSTREAM, IN_ORDER, STOPPED, Conversation, Direction, Event

Role: TypeAlias = Literal["server", "client"]
"""The side that is played: the other one is real."""


class Act(Enum):
    """The kinds of steps: bytes, an end or a reset that is said; bytes or an end that are heard."""

    SAY = auto()
    END = auto()
    RESET = auto()
    HEAR = auto()
    HEAR_END = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    * `line`: its line in the record. `gap`: the seconds between it and the step before.
    * `data`: the bytes, of one that is said. `stop`: the place behind its bytes in the stream, of one that is heard.
    """

    act: Act
    line: int
    gap: float = 0.0
    data: bytes = b""
    stop: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one side, and the bytes that it is to hear.

    `turns` are the places in those at which it says something: nothing that is heard goes on behind them. From the step
    `only_ends` on no more bytes are said or heard.
    """

    conversation: Conversation
    says: Direction
    hears: Direction
    steps: tuple[Step, ...]
    heard: bytes
    turns: tuple[int, ...]
    only_ends: int = 0


def script_of(conversation: Conversation, role: Role) -> Script:
    """Return the script by which a side is played."""
    is_server = role == "server"
    says, hears = _ways(is_server)
    events = tuple(conversation.as_client_saw() if is_server else conversation.as_upstream_saw())
    steps: list[Step] = []
    heard: list[bytes] = []
    length, before = 0, conversation.began
    for event in events:
        length += len(event.data) if event.direction == hears else 0
        if event.direction == hears and event.data:
            heard.append(event.data)
        steps.append(_step(event, event.direction == says, max(0.0, event.at - before), length))
        before = event.at
    if (last := _last(conversation, role, steps)) is not None:
        gap = max(0.0, conversation.closed - before) if conversation.closed is not None else 0.0
        steps.append(Step(last, steps[-1].line if steps else conversation.line, gap))
    only_ends = max((place for place, step in enumerate(steps, 1) if step.act in (Act.SAY, Act.HEAR)), default=0)
    return Script(conversation, says, hears, tuple(steps), b"".join(heard), tuple(_turns(steps)), only_ends)


def _ways(is_server: bool) -> tuple[Direction, Direction]:
    return ("to_client", "to_upstream") if is_server else ("to_upstream", "to_client")


def _step(event: Event, is_said: bool, gap: float, stop: int) -> Step:
    if is_said:
        return Step(Act.END if event.is_end else Act.SAY, event.line, gap, event.data)
    return Step(Act.HEAR_END if event.is_end else Act.HEAR, event.line, gap, stop=stop)


def _last(conversation: Conversation, role: Role, steps: Iterable[Step]) -> Act | None:
    """Return the step by which the close reason ends a script, where its events have not done so."""
    reason, acts = conversation.reason, {step.act for step in steps}
    if reason is None or reason == STOPPED:
        # The record ended before the connection did.
        return None
    if reason in IN_ORDER:
        return None if Act.END in acts else Act.END
    if reason in (BY_CLIENT if role == "server" else BY_UPSTREAM):
        return None if Act.HEAR_END in acts else Act.HEAR_END
    return Act.RESET


def _turns(steps: Iterable[Step]) -> Iterable[int]:
    stop, is_hearing = 0, False
    for step in steps:
        if step.act is Act.HEAR:
            stop, is_hearing = step.stop, True
        elif is_hearing:
            yield stop
            is_hearing = False
    if is_hearing:
        yield stop
