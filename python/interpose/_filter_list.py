"""The filters of a server or a side, checked. Nothing of them is imported where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import _native
    from .filters import Filter


def filters_or_none(value: object) -> list[Filter]:
    """Return the filters that `value` says, or raise ArgumentTypeError."""
    if value is None or value == () or value == []:
        return []
    from .filters import filters_of

    return filters_of(value)


def native_filters(chosen: Sequence[Filter]) -> list[_native.Filter]:
    """Return the native side's twins."""
    return [one._native for one in chosen]  # pyright: ignore[reportPrivateUsage]
