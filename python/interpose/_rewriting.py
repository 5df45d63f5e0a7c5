"""Filters that rewrite what passes, and that choose the connections that others show."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast, overload

from . import _native
from ._checks import count as count_of
from ._checks import seconds
from ._exceptions import ArgumentTypeError, ConfigError, wrong_type
from ._filter import Direction, Filter, directions_of
from ._names import FILTER_ARGUMENTS, names_checked

BytesOrText: TypeAlias = "bytes | bytearray | memoryview | str"
"""Bytes, or text, which stands for its UTF-8."""

_HOLD = 0.25
_MOST = 2**63 - 1


def _bytes_of(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value))
    raise wrong_type(name, value, "bytes or text", f'write {name}=b"..."')


def _patterns_of(value: object) -> list[bytes]:
    if not isinstance(value, (list, tuple)):
        return [_bytes_of("pattern", value)]
    patterns = [_bytes_of("pattern", one) for one in cast("Sequence[object]", value)]
    if not patterns:
        raise ConfigError('pattern: the list is empty; write filters.Grep("SELECT", filters.Text())')
    return patterns


def _count_or_none(count: int | None) -> int | None:
    return None if count is None else count_of("count", count, 1, _MOST)


def _pairs_of(old: object, new: object) -> list[tuple[bytes, bytes]]:
    if not isinstance(old, Mapping):
        if new is None:
            raise ArgumentTypeError('new: it is missing; write filters.Replace(b"old", b"new")')
        return [(_bytes_of("old", old), _bytes_of("new", new))]
    if new is not None:
        raise ArgumentTypeError("new: the mapping says what stands in place of each; leave new out")
    pairs = cast("Mapping[object, object]", old)
    return [(_bytes_of("old", one), _bytes_of("new", other)) for one, other in pairs.items()]


class Replace(Filter):
    r"""Puts bytes in place of others, wherever these are: also where they come in several reads.

    * `old`, `new`: bytes, or text, which stands for its UTF-8. A mapping of old to new in place of both replaces
      several at once. Of those that begin at one place the longest is replaced; what is put in place is not looked at
      again.
    * `direction`: `"both"`, `"to_upstream"` or `"to_client"`.
    * `count`: the most that are replaced in each direction of a connection.
    * `hold`: bytes that may begin `old` wait for those behind them, at most this many seconds. Others go on at once. So
      the end of what a side sends may be that late where it looks like a beginning of `old`, and an `old` whose parts
      come with a longer pause between them is not replaced. 0 never waits.

    Where the server has a framing, each message is rewritten by itself: nothing waits, and its length field is set
    right. Raises ArgumentTypeError and ConfigError.

    >>> from interpose import filters
    >>> filters.Replace("internal.example", "www.example.org", direction="to_client")
    filters.Replace('internal.example', 'www.example.org', direction='to_client')
    >>> filters.Replace({b"yes": b"no", b"no": b"yes"})
    filters.Replace({b'yes': b'no', b'no': b'yes'})
    """

    __slots__ = ()

    _defaults = {"direction": "both", "hold": _HOLD}  # noqa: RUF012 (never changed)
    _looks = False

    @overload
    def __init__(
        self,
        old: BytesOrText,
        new: BytesOrText,
        *,
        direction: Direction = "both",
        count: int | None = None,
        hold: float = _HOLD,
    ) -> None: ...
    @overload
    def __init__(
        self,
        old: Mapping[bytes, BytesOrText] | Mapping[str, BytesOrText],
        *,
        direction: Direction = "both",
        count: int | None = None,
        hold: float = _HOLD,
    ) -> None: ...
    @names_checked(FILTER_ARGUMENTS, first=1)
    def __init__(
        self,
        old: BytesOrText | Mapping[bytes, BytesOrText] | Mapping[str, BytesOrText],
        new: BytesOrText | None = None,
        *,
        direction: Direction = "both",
        count: int | None = None,
        hold: float = _HOLD,
    ) -> None:
        pairs, most, longest = _pairs_of(old, new), _count_or_none(count), seconds("hold", hold, zero=True)
        native = _native.replace(pairs, directions_of(direction), most, longest)
        shown: tuple[object, ...] = (dict(old),) if isinstance(old, Mapping) else (old, new)
        self._made(native, None, *shown, direction=direction, count=count, hold=hold)


class ReplaceRegex(Filter):
    r"""Puts bytes in place of what a regular expression matches, in time in proportion to the bytes.

    * `pattern`: the expression, as Python's `re` has it for bytes: `.` is a byte, `\w` is ASCII. There is no
      look-around but `\b`, `^` and `$`, and no back reference. What matches nothing at all, such as `a*`, is refused.
    * `replacement`: the bytes, with `\1` or `\g<name>` for a group and `\n`, `\r`, `\t`, `\xHH`, `\\`.
    * `direction`, `count` and `hold` are those of Replace.

    A match that comes in several reads is found if it is no longer than 64 KiB. Raises ArgumentTypeError and
    ConfigError.

    >>> from interpose import filters
    >>> filters.ReplaceRegex(r"password=\w+", "password=***", count=1)
    filters.ReplaceRegex('password=\\w+', 'password=***', count=1)
    """

    __slots__ = ()

    _defaults = {"direction": "both", "hold": _HOLD}  # noqa: RUF012 (never changed)
    _looks = False

    @names_checked(FILTER_ARGUMENTS, first=1)
    def __init__(
        self,
        pattern: BytesOrText,
        replacement: BytesOrText,
        *,
        direction: Direction = "both",
        count: int | None = None,
        hold: float = _HOLD,
    ) -> None:
        looked_for, instead = _bytes_of("pattern", pattern), _bytes_of("replacement", replacement)
        most, longest = _count_or_none(count), seconds("hold", hold, zero=True)
        native = _native.replace_regex(looked_for, instead, directions_of(direction), most, longest)
        self._made(native, None, pattern, replacement, direction=direction, count=count, hold=hold)


class Grep(Filter):
    r"""Lets other filters show only the connections in which a regular expression matches.

    * `pattern`: the expression, as for ReplaceRegex, or a list of them, of which one has to match.
    * `shown`: the filters that look, such as `filters.Hexdump()`. Each shows a connection from its beginning on, once
      something in it has matched.
    * `direction`: where it looks for a match.
    * `keep`: the most bytes of a connection that are kept before there is a match. Of more, the first are left out, and
      the output says how many.

    Raises ArgumentTypeError and ConfigError.

    >>> from interpose import filters
    >>> filters.Grep("SELECT .* FROM users", filters.Text(), direction="to_upstream")
    filters.Grep('SELECT .* FROM users', filters.Text(), direction='to_upstream')
    """

    __slots__ = ()

    _defaults = {"direction": "both", "keep": 65536}  # noqa: RUF012 (never changed)

    @names_checked(FILTER_ARGUMENTS, first=1)
    def __init__(
        self,
        pattern: BytesOrText | Sequence[BytesOrText],
        *shown: Filter,
        direction: Direction = "both",
        keep: int = 65536,
    ) -> None:
        looked_for, most = _patterns_of(pattern), count_of("keep", keep, 0)
        for one in shown:
            if not isinstance(one, Filter):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise wrong_type("shown", one, "a filter", "write filters.Grep(pattern, filters.Hexdump())")
            if not one._looks:
                raise ArgumentTypeError(f"shown: {one!r} shows nothing; put it beside the Grep in the list of filters")
        if not shown:
            raise ArgumentTypeError("shown: nothing is shown; write filters.Grep(pattern, filters.Hexdump())")
        natives = [one._native for one in shown]
        native = _native.grep(looked_for, directions_of(direction), most, natives)
        self._made(native, shown, pattern, *shown, direction=direction, keep=keep)

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until everything that it has seen so far is written, at most `timeout` seconds; return whether it is."""
        end = time.monotonic() + seconds("timeout", timeout, zero=True)
        settled = [self._native.settle(timeout)]
        for one in cast("tuple[Filter, ...]", self._kept):
            settled.append(one.flush(max(0.0, end - time.monotonic())))
        return all(settled)
