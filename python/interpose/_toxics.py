"""The toxics of toxiproxy, with its names, units and defaults, as faults."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

from ._checks import choice, count
from ._exceptions import ArgumentTypeError, ConfigError
from ._names import nearest

Stream: TypeAlias = Literal["downstream", "upstream"]
"""toxiproxy's words for a direction: to the client, and to the upstream."""


class Required(TypedDict):
    """The conditions that every toxic has."""

    direction: Literal["to_client", "to_upstream"]
    probability: float


Described: TypeAlias = "tuple[str, tuple[float | str, ...], Required]"

# The attributes of each toxic with their defaults, as toxiproxy documents them.
TOXICS: dict[str, dict[str, int]] = {
    "latency": {"latency": 0, "jitter": 0},
    "bandwidth": {"rate": 0},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 0},
    "reset_peer": {"timeout": 0},
    "slicer": {"average_size": 0, "size_variation": 0, "delay": 0},
    "limit_data": {"bytes": 0},
}


def described(kind: str, stream: str, toxicity: Any, attributes: dict[str, int]) -> list[Described]:
    """Return the faults that a toxic stands for: the class of each, its arguments, and the conditions."""
    if kind not in TOXICS:
        near = nearest(kind, tuple(TOXICS), {})
        raise ConfigError(
            f"toxic: there is no {kind!r}; " + (f"did you mean {near!r}?" if near else f"there are {', '.join(TOXICS)}")
        )
    known = TOXICS[kind]
    for name in attributes:
        if name not in known:
            near = nearest(name, tuple(known), {})
            advice = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise ArgumentTypeError(f"{name}: toxic {kind} has no such attribute; {advice}")
    of = {**known, **{name: count(name, value, 0) for name, value in attributes.items()}}
    if isinstance(toxicity, (int, float)) and not 0 <= toxicity <= 1:
        raise ConfigError(f"toxicity: {toxicity} is not between 0 and 1; give one such as 0.1")
    is_down = choice("stream", stream, ("downstream", "upstream")) == "downstream"
    return _faults(kind, of, {"direction": "to_client" if is_down else "to_upstream", "probability": toxicity})


def _faults(kind: str, of: dict[str, int], when: Required) -> list[Described]:
    if kind == "latency":
        return [("Latency", (of["latency"] / 1000, of["jitter"] / 1000), when)]
    if kind == "bandwidth":
        # toxiproxy lets nothing through at rate 0.
        return [("Bandwidth", (of["rate"] * 1000,), when) if of["rate"] else ("Stall", (), when)]
    if kind == "slow_close":
        return [("SlowClose", (of["delay"] / 1000,), when)]
    if kind == "timeout":
        ends: list[Described] = [("CloseAfter", (of["timeout"] / 1000,), when)] if of["timeout"] else []
        return [*ends, ("Blackhole", (), when)]
    if kind == "reset_peer":
        return [("CloseAfter", (of["timeout"] / 1000, "reset"), when)]
    if kind == "slicer":
        return [("Slicer", (max(1, of["average_size"]), of["size_variation"], _micro(of["delay"])), when)]
    return [("Cut", (of["bytes"],), when)]


def _micro(microseconds: int) -> float:
    """Return seconds, of which a pause has at least a millisecond."""
    return max(0.001, microseconds / 1_000_000) if microseconds else 0.0
