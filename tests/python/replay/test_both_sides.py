"""Both sides of a record, played to each other: any conversation that there can be goes through to its end."""

from __future__ import annotations

import random
from typing import Literal

import pytest
from interpose import replay
from interpose.replay import Conversation, Recording
from support.records import Turn, record_of, talk

REASONS = ("finished", "closed", "client_reset", "upstream_reset", "aborted", "stopped", None)


def made_up(number: int, draw: random.Random, began: int) -> Conversation:
    """A conversation of random turns, of which a side that has ended has no more."""
    reason = draw.choice(REASONS)
    live, turns = [">", "<"], list[Turn]()
    for _ in range(draw.randrange(12)):
        side = draw.choice(live)
        if draw.random() < 0.1 and len(live) == 2:
            live.remove(side)
            turns.append((side, None))
        else:
            turns.append((side, draw.randbytes(draw.choice([1, 10, 1000, 100_000]))))
    if reason == "finished":
        turns += [(side, None) for side in draw.sample(live, len(live))]
    return talk(number, *turns, reason=reason, began=began)


@pytest.mark.parametrize("match", ["order", "bytes"])
@pytest.mark.parametrize("seed", range(20))
def test_every_conversation_goes_through(seed: int, match: Literal["order", "bytes"]) -> None:
    draw = random.Random(seed)
    record = record_of(*(made_up(number, draw, 100 * number) for number in range(1, 6)))
    with replay.serve(record, match=match) as server:
        assert replay.play(record, server.address) == 5
        assert server.wait(10)


def test_a_long_conversation_takes_no_longer_for_each_turn() -> None:
    turns: list[Turn] = [turn for number in range(5000) for turn in ((">", b"%d\n" % number), ("<", b"ok\n"))]
    record = Recording((talk(1, *turns, (">", None), ("<", None)),))
    with replay.serve(record) as server:
        assert replay.play(record, server.address) == 1
