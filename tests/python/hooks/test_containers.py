"""`input_list` is a list and `channel` a dict, whichever way they are changed; each change is noticed once."""

from __future__ import annotations

import random
from typing import Any

import pytest
from interpose._containers import Channel, InputList


class Notes:
    """Records the calls of the containers."""

    def __init__(self) -> None:
        self.read: set[Any] = set()

    def enters(self, one: object, is_listed: bool) -> None:
        if one == "bad":
            raise ValueError(one)
        assert not is_listed or one not in self.read
        self.read.add(one)

    def unlisted(self, one: object) -> None:
        self.read.remove(one)


def change(items: Any, chance: random.Random) -> None:
    number = chance.randrange(5)
    kind = chance.randrange(12)
    if kind == 0:
        items.append(number)
    elif kind == 1:
        items.extend([number, 7])
    elif kind == 2:
        items += [number]
    elif kind == 3 and number in items:
        items.remove(number)
    elif kind == 4:
        items.insert(chance.randrange(-3, 4), number)
    elif kind == 5 and items:
        items.pop(chance.choice([0, -1]))
    elif kind == 6:
        items[1:3] = [number]
    elif kind == 7:
        del items[:1]
    elif kind == 8:
        items.reverse()
    elif kind == 9:
        items.sort()
    elif kind == 10 and items:
        items[0] = number
    elif kind == 11 and chance.random() < 0.1:
        items.clear()


@pytest.mark.parametrize("seed", range(20))
def test_the_list_is_as_any_list_and_tells_what_is_in_it(seed: int) -> None:
    notes = Notes()
    ours, theirs = InputList(notes, []), list[int]()
    one, other = random.Random(seed), random.Random(seed)
    for _ in range(300):
        change(ours, one)
        change(theirs, other)
        assert ours == theirs
        assert list(ours) == theirs
        assert notes.read == set(theirs)
        assert [number in ours for number in range(8)] == [number in theirs for number in range(8)]


def test_what_is_kept_out_changes_nothing() -> None:
    notes = Notes()
    items = InputList(notes, [])
    items.append("a")
    with pytest.raises(ValueError, match="bad"):
        items.append("bad")
    with pytest.raises(ValueError, match="bad"):
        items.insert(0, "bad")
    with pytest.raises(ValueError, match="bad"):
        items += ["bad"]
    assert items == ["a"]
    channel = Channel(notes)
    with pytest.raises(ValueError, match="bad"):
        channel["a"] = "bad"
    assert channel == {}


def test_the_dict_is_as_any_dict_and_knows_its_values() -> None:
    channel = Channel(Notes())
    channel.update({"a": "b"}, c="b")
    channel |= {"d": "e"}
    assert channel.setdefault("d", "f") == "e"
    assert channel.setdefault("g", "h") == "h"
    assert channel == {"a": "b", "c": "b", "d": "e", "g": "h"}
    channel.without("b")
    assert channel == {"d": "e", "g": "h"}
    assert channel.pop("no", 1) == 1
    with pytest.raises(KeyError):
        channel.pop("no")
    assert channel.popitem() == ("g", "h")
    channel.replace({"x": "y"})
    assert channel == {"x": "y"}
    channel.clear()
    channel.without("y")
    assert channel == {}
    with pytest.raises(KeyError):
        channel.popitem()
