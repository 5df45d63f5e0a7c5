"""`input_list` is a list and `channel` a dict, whichever way they are changed; each change is noticed once."""

from __future__ import annotations

import copy
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from interpose._containers import Channel, InputList


class Notes:
    """Records the calls of the containers."""

    def __init__(self) -> None:
        self.read: set[Any] = set()

    def check(self, one: object) -> None:
        if one == "bad":
            raise ValueError(one)

    def enters(self, one: object, is_listed: bool) -> None:
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
        items.insert(chance.choice([chance.randrange(-3, 4), len(items) // 2]), number)
    elif kind == 5 and items:
        items.pop(chance.choice([0, -1, chance.randrange(len(items)), -chance.randrange(len(items)) - 1]))
    elif kind == 6:
        items[1:3] = [number]
    elif kind == 7 and items:
        del items[chance.choice([0, -1, slice(1), len(items) // 2])]
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
        channel["new"] = "bad"
    assert channel == {}
    with pytest.raises(ValueError, match="bad"):
        items[:] = ["a", "new", "bad"]
    assert notes.read == {"a"}


class Counted:
    """An item that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)


def test_the_list_finds_and_turns_round_in_one_pass() -> None:
    things = [Counted() for _ in range(2000)]
    items = InputList(Notes(), things)
    walks: list[int] = []

    class Walked(InputList):
        def __iter__(self) -> Iterator[Any]:
            walks.append(1)
            return super().__iter__()

    walked = Walked(Notes(), things)
    assert walked.index(things[-1]) == 1999
    assert list(reversed(walked)) == things[::-1]
    assert len(walks) == 2
    assert items.index(things[5], 3, 9) == 5
    with pytest.raises(ValueError, match="not in list"):
        items.index(things[5], 6)
    with pytest.raises(ValueError, match="not in list"):
        items.index("no")


def test_a_change_in_the_middle_looks_at_no_other_item() -> None:
    hashed: list[int] = []

    class Item(int):
        def __hash__(self) -> int:
            hashed.append(int(self))
            return int(self)

    items = InputList(Notes(), [])
    items.extend(map(Item, range(100)))
    hashed.clear()
    items.insert(50, Item(1000))
    assert (items.pop(51), items.pop(0), items.pop(-1)) == (50, 0, 99)
    del items[1]
    assert set(hashed) <= {1000, 50, 0, 99, 2}
    assert items[:2] == [1, 3]
    assert items[48] == 1000


def test_an_index_beyond_the_list_is_an_error() -> None:
    items = InputList(Notes(), [])
    items.extend([1, 2])
    for index in (2, -3):
        with pytest.raises(IndexError):
            items.pop(index)
        with pytest.raises(IndexError):
            del items[index]
    assert items == [1, 2]


def test_an_assignment_of_itself_rebuilds_nothing() -> None:
    items = InputList(Notes(), [Counted() for _ in range(10)])
    hashed: list[object] = []
    items._key = hashed.append  # type: ignore[method-assign,assignment] # pyright: ignore
    items.replace(items)
    assert hashed == []


def test_copies_are_plain_and_their_own() -> None:
    notes = Notes()
    items, channel = InputList(notes, []), Channel(notes)
    items.append("a")
    channel["a"] = "b"
    of_items, of_channel = copy.copy(items), copy.copy(channel)
    assert [type(of_items).__name__, type(of_channel).__name__] == ["list", "dict"]
    of_items.remove("a")
    of_channel.clear()
    assert items == ["a"]
    assert channel == {"a": "b"}
    channel.without("b")
    assert channel == {}


def test_threads_may_change_both() -> None:
    class Quiet(Notes):
        def enters(self, one: object, is_listed: bool) -> None:
            time.sleep(0)  # Lets another thread run, in the middle of a change.

        def unlisted(self, one: object) -> None: ...

    items, channel = InputList(Quiet(), []), Channel(Quiet())
    failures: list[BaseException] = []

    def work(own: int) -> None:
        try:
            for round_ in range(100):
                items.append("shared")
                items.append(own)
                items.insert(0, (own, round_))
                channel[own] = "shared"
                items.remove(own)
                items.remove((own, round_))
                items.remove("shared")
                del channel[own]
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert items == []
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
