"""`input_list` and `channel`, the containers in which a script of the tutorial's form keeps its sides."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, SupportsIndex, overload

from ._threads import ReentrantLock


class Keeper(Protocol):
    """Checks and follows what enters the containers, and what leaves them."""

    def check(self, one: object) -> None:
        """Raise for what cannot be in a container."""

    def enters(self, one: object, is_listed: bool) -> None:
        """Prepare for `one`, which is about to enter a container that it was not in. An exception keeps it out."""

    def unlisted(self, one: object) -> None:
        """Stop reading `one`, which has left `input_list`."""


class InputList(MutableSequence[Any]):
    """A list whose `in`, `append` and `remove` cost the same however long it is. Any thread may change it."""

    def __init__(self, keeper: Keeper, items: Iterable[Any]) -> None:
        self._keeper = keeper
        self._lock: AbstractContextManager[Any] = ReentrantLock()
        self._items: dict[int, Any] = {}
        # Of each item, by its hash where it has one, the places in `_items`, in order.
        self._places: dict[Any, list[int]] = {}
        self._next = 0
        for one in items:
            self._add(one)

    @staticmethod
    def _key(one: object) -> object:
        try:
            hash(one)
        except TypeError:
            return id(one)
        return one

    def _add(self, one: object) -> None:
        self._items[self._next] = one
        self._places.setdefault(self._key(one), []).append(self._next)
        self._next += 1

    def append(self, value: Any) -> None:
        """Put it at the end: it is read from here on."""
        with self._lock:
            if value not in self:
                self._keeper.check(value)
                self._keeper.enters(value, is_listed=True)
            self._add(value)

    def extend(self, values: Iterable[Any]) -> None:
        """Put all of them at the end."""
        for value in list(values):
            self.append(value)

    def remove(self, value: Any) -> None:
        """Take the first that is equal out: unless it is there once more, it is not read any more."""
        with self._lock:
            key = self._key(value)
            places = self._places.get(key)
            if not places:
                raise ValueError("input_list.remove(x): x not in list")
            self._drop(key, places[0])

    def _drop(self, key: Any, place: int) -> Any:
        """Take out what is in a place, and return it; it is not read any more unless it is there once more."""
        places = self._places[key]
        places.remove(place)
        value = self._items.pop(place)
        if not places:
            del self._places[key]
            self._keeper.unlisted(value)
        return value

    def discard(self, value: Any) -> None:
        """Take all that are equal out."""
        with self._lock:
            for place in self._places.pop(self._key(value), ()):
                del self._items[place]

    def replace(self, values: Iterable[Any]) -> None:
        """Replace all items by `values`."""
        # An assignment such as `self.input_list += sides` comes with what is there already.
        if values is not self:
            with self._lock:
                self._replace(values)

    def _replace(self, values: Iterable[Any]) -> None:
        items = list(values)
        before = {key: self._items[places[0]] for key, places in self._places.items()}
        keys = [self._key(one) for one in items]
        new = {key: one for key, one in zip(keys, items, strict=True) if key not in before}
        for one in new.values():
            self._keeper.check(one)
        for one in new.values():
            self._keeper.enters(one, is_listed=True)
        self._items, self._places = {}, {}
        for one in items:
            self._add(one)
        for key in before.keys() - set(keys):
            self._keeper.unlisted(before[key])

    def _changed(self, change: Callable[[list[Any]], Any]) -> Any:
        with self._lock:
            items = list(self)
            result = change(items)
            self._replace(items)
            return result

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return list(self)[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._changed(lambda items: items.__setitem__(index, value))

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        if isinstance(index, slice):
            self._changed(lambda items: items.__delitem__(index))
        else:
            self.pop(index)

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Put it before the item at `index`."""
        with self._lock:
            if value in self:
                # Places of equal items are kept in order, so all are numbered anew.
                self._changed(lambda items: items.insert(index, value))
                return
            self._keeper.check(value)
            self._keeper.enters(value, is_listed=True)
            items = list(self._items.items())
            items.insert(operator.index(index), (self._next, value))
            self._items = dict(items)
            self._places[self._key(value)] = [self._next]
            self._next += 1

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Take the item at `index` out, and return it."""
        with self._lock:
            at, length = operator.index(index), len(self._items)
            if not -length <= at < length:
                raise IndexError("pop index out of range" if length else "pop from empty list")
            places = (
                itertools.islice(self._items, at, None)
                if at >= 0
                else itertools.islice(reversed(self._items), -1 - at, None)
            )
            place = next(places)
            return self._drop(self._key(self._items[place]), place)

    def clear(self) -> None:
        """Take all out."""
        self.replace([])

    def reverse(self) -> None:
        """Turn the order round."""
        self._changed(lambda items: items.reverse())

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Order the items."""
        self._changed(lambda items: items.sort(key=key, reverse=reverse))

    def copy(self) -> list[Any]:
        """Return a list of its own with the items."""
        return list(self)

    __copy__ = copy

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the first index of what is equal."""
        items: list[Any] = list(self)
        return items.index(value, start, len(items) if stop is None else stop)

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self)[::-1])

    def __contains__(self, value: object) -> bool:
        return self._key(value) in self._places

    def count(self, value: Any) -> int:
        """Return how often it is there."""
        return len(self._places.get(self._key(value), ()))

    def __iter__(self) -> Iterator[Any]:
        # Of the items as they are: a method may take some out meanwhile, as it may with a list.
        with self._lock:
            return iter(list(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Any]) -> list[Any]:
        return [*other, *self]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (InputList, list)):
            return list(self) == [*other]
        return NotImplemented

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return repr(list(self))


_NOTHING = object()


class Channel(dict[Any, Any]):
    """The other side of each, by side. It knows of each side whose other one it is, too."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__()
        self._keeper = keeper
        self._lock: AbstractContextManager[Any] = ReentrantLock()
        # By side, the keys that it is the value of.
        self._keys: dict[Any, dict[Any, None]] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        with self._lock:
            # If one of the two cannot be entered, neither is.
            for one in (key, value):
                self._keeper.check(one)
            for one in (key, value):
                self._keeper.enters(one, is_listed=False)
            self._forget(key)
            super().__setitem__(key, value)
            if _is_hashable(value):
                self._keys.setdefault(value, {})[key] = None

    def __delitem__(self, key: Any) -> None:
        with self._lock:
            if key in self:
                self._forget(key)
            super().__delitem__(key)

    def __copy__(self) -> dict[Any, Any]:
        return dict(self)

    def _forget(self, key: Any) -> None:
        value = super().get(key, _NOTHING)
        keys = self._keys.get(value) if _is_hashable(value) else None
        if keys is not None:
            keys.pop(key, None)
            if not keys:
                del self._keys[value]

    def without(self, side: object) -> None:
        """Take out every entry of `side`, as key and as value."""
        self.pop(side, None)
        for key in list(self._keys.get(side, ())):
            self.pop(key, None)

    def pop(self, key: Any, default: Any = _NOTHING) -> Any:
        """Take the entry out, and return the other side."""
        with self._lock:
            if key not in self:
                if default is _NOTHING:
                    raise KeyError(key)
                return default
            value = self[key]
            del self[key]
            return value

    def popitem(self) -> tuple[Any, Any]:
        """Take the last entry out, and return it."""
        if not self:
            raise KeyError("popitem(): dictionary is empty")
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        """Take all entries out."""
        for key in list(self):
            del self[key]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the other side; enter `default` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **named: Any) -> None:
        """Enter all these pairs."""
        pairs: dict[Any, Any] = dict(*others, **named)
        for key, value in pairs.items():
            self[key] = value

    def replace(self, pairs: Mapping[Any, Any]) -> None:
        """Replace all entries by `pairs`."""
        if pairs is not self:
            for key in [key for key in self if key not in pairs]:
                del self[key]
            self.update(pairs)

    def __ior__(self, other: Any) -> Channel:  # type: ignore[misc]
        self.update(other)
        return self


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
