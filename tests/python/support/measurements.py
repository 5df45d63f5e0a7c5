"""Numbers that tests measure: how they are recorded (with the results, see --junitxml) and summed up."""

from __future__ import annotations

from collections.abc import Callable

# The type of pytest's fixture record_property.
Record = Callable[[str, object], None]


def percentile(values: list[float], part: float) -> float:
    """The value below which *part* (0..1) of the values lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
