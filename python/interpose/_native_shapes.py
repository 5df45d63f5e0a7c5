"""The shapes of what the core takes and returns: for type checkers alone, by the stub of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from . import _native

SocketName: TypeAlias = "tuple[str, int] | str"
Decides: TypeAlias = "Callable[[int, Any, bytes | None], object]"
Both: TypeAlias = "tuple[bool, bool]"
Limits: TypeAlias = "tuple[int, bool]"
Output: TypeAlias = "tuple[str, int]"
Targets: TypeAlias = "list[tuple[str, _native.Forward]]"
Answered: TypeAlias = "tuple[list[_native.Asking], list[int], list[int], bool, bool, BaseException | None]"
Pair: TypeAlias = "tuple[int, int]"
Captured: TypeAlias = "tuple[int, str, str, str, Pair, Pair, Pair, str, str | None]"
Noted: TypeAlias = "tuple[float, int, str, str, bool, int, bytes | str | int | None, str | None]"
Bytes: TypeAlias = "bytes | bytearray | memoryview"
Style: TypeAlias = "tuple[bool, int]"
Size: TypeAlias = "tuple[int, int | None]"
Numbers: TypeAlias = "tuple[tuple[float, float], Pair, list[float]]"
When: TypeAlias = "tuple[float, int, tuple[bytes, bool] | None, int | None, int | None]"
Beside: TypeAlias = (
    "tuple[_native.Forward | None, _native.Tls | None, _native.Intercept | None, _native.ByName | None, bool]"
)
Stages: TypeAlias = "tuple[list[_native.Filter], list[_native.Fault], int | None]"
Awaiting: TypeAlias = "Callable[[Awaitable[object]], Coroutine[Any, Any, object]]"
Places: TypeAlias = "list[tuple[str, str, Callable[..., Any] | None, bool]]"
Seen: TypeAlias = "list[tuple[int, int, str, str, int, bytes | None, int]]"
