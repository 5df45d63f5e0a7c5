r"""Strategies for Hypothesis: streams in pieces, scripts of faults, and the order in which two peers leave.

Needs Hypothesis: `pip install interpose[hypothesis]`. What is found is made smaller, as all that Hypothesis finds, and
repeats: faults draw by the seed of their proxy.

    from hypothesis import given
    from interpose.testing import Proxy, strategies

    @given(faults=strategies.fault_scripts(), seed=strategies.seeds())
    def test_the_client_answers_right_or_not_at_all(faults, seed):
        with Proxy("127.0.0.1:6379", faults=faults, seed=seed) as proxy: ...

>>> from hypothesis import find
>>> from interpose.testing import strategies
>>> find(strategies.chunkings(b"hello"), lambda pieces: len(pieces) == 2)
[b'h', b'ello']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from .. import faults
from .._checks import count
from .._exceptions import ArgumentTypeError, ConfigError

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "interpose.testing.strategies: Hypothesis is not installed; pip install 'interpose[hypothesis]'",
        name=error.name,
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import SearchStrategy

__all__ = ["Leaving", "chunkings", "close_orders", "fault_scripts", "seeds"]

How: TypeAlias = Literal["half_close", "close", "reset"]
"""How a peer leaves: it ends its own direction and reads on, it closes, or it resets."""

# In milliseconds: a delay that tells an order from another, and lets a hundred examples be short.
_LONGEST_DELAY = 10


class Leaving(NamedTuple):
    """One step of two peers' leaving.

    >>> from interpose.testing.strategies import Leaving
    >>> Leaving("client", "reset")
    Leaving(peer='client', how='reset')
    """

    peer: Literal["client", "upstream"]
    """Who leaves."""
    how: How
    """How it does."""


def chunkings(data: bytes, max_chunks: int = 16) -> SearchStrategy[list[bytes]]:
    """Return a strategy for the ways to cut `data` into at most `max_chunks` pieces, none of them empty.

    The simplest way is one piece. Raises ArgumentTypeError and ConfigError.

    >>> from hypothesis import find
    >>> from interpose.testing import strategies
    >>> find(strategies.chunkings(b"hello"), bool)
    [b'hello']
    """
    if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"data: it is {type(data).__name__}, not bytes")
    most = count("max_chunks", max_chunks, 1)
    if len(data) < 2:
        return st.just([data] if data else [])
    borders = st.lists(st.integers(1, len(data) - 1), max_size=most - 1, unique=True)
    return borders.map(lambda found: _cut(data, sorted(found)))


def seeds() -> SearchStrategy[int]:
    """Return a strategy for the seed of a proxy.

    >>> from hypothesis import find
    >>> from interpose.testing import strategies
    >>> find(strategies.seeds(), bool)
    1
    """
    return st.integers(0, 2**32 - 1)


def fault_scripts(
    max_size: int = 3,
    max_bytes: int = 1000,
    kinds: Literal["all", "slow", "breaking", "changing"] | Sequence[str] = "all",
) -> SearchStrategy[list[faults.Fault]]:
    """Return a strategy for lists of at most `max_size` faults, each made anew for its example.

    * `max_bytes`: the most bytes that pass before one strikes.
    * `kinds`: `"slow"` faults (Latency, Bandwidth, Slicer, SlowClose) lose nothing; `"breaking"` ones (Cut, Reset,
      HalfClose, Stall, Blackhole) end or stop; `"changing"` ones (Corrupt, Duplicate, Truncate, Drop) change what
      passes. Or a list of such words and of the names of faults.

    Raises ConfigError for a kind that there is not.

    >>> from hypothesis import find
    >>> from interpose.testing import strategies
    >>> find(strategies.fault_scripts(kinds=["Reset"]), bool)
    [faults.Reset(after_bytes=0, direction='both')]
    """
    after = {
        "after_bytes": st.integers(0, count("max_bytes", max_bytes, 0)),
        "direction": st.sampled_from(["both", "to_upstream", "to_client"]),
    }
    made = _kinds(after)
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    chosen: dict[str, SearchStrategy[faults.Fault]] = {}
    for name in names:
        group = made if name == "all" else {one: made[one] for one in _GROUPS.get(name, (name,)) if one in made}
        if not group:
            known = ", ".join(["all", *_GROUPS, *made])
            raise ConfigError(f"kinds: there is no {name!r}; there are {known}")
        chosen |= group
    return st.lists(st.one_of(*chosen.values()), max_size=count("max_size", max_size, 0))


def close_orders(max_size: int = 4) -> SearchStrategy[list[Leaving]]:
    """Return a strategy for the ways in which a client and an upstream leave, one step after the other.

    After its `close` or `reset` a peer does nothing more, and it half-closes once at most. The simplest is that the
    client closes.

    >>> from hypothesis import find
    >>> from interpose.testing import strategies
    >>> find(strategies.close_orders(), bool)
    [Leaving(peer='client', how='close')]
    """
    peers, ways = st.sampled_from(["client", "upstream"]), st.sampled_from(["close", "half_close", "reset"])
    steps = st.builds(Leaving, peers, ways)
    return st.lists(steps, min_size=1, max_size=count("max_size", max_size, 1)).map(_possible)


_GROUPS = {
    "slow": ("Latency", "Bandwidth", "Slicer", "SlowClose"),
    "breaking": ("Cut", "Reset", "HalfClose", "Stall", "Blackhole"),
    "changing": ("Corrupt", "Duplicate", "Truncate", "Drop"),
}


def _kinds(after: dict[str, SearchStrategy[Any]]) -> dict[str, SearchStrategy[faults.Fault]]:
    """Return the strategy of each kind of fault."""
    delays = st.integers(0, _LONGEST_DELAY).map(lambda delay: delay / 1000)
    arguments: dict[str, tuple[Callable[..., faults.Fault], dict[str, SearchStrategy[Any]]]] = {
        "Latency": (faults.Latency, {"delay": delays, "jitter": delays}),
        "Bandwidth": (faults.Bandwidth, {"rate": st.integers(100_000, 10_000_000)}),
        "Slicer": (faults.Slicer, {"size": st.integers(1, 100), "variation": st.integers(0, 10)}),
        "SlowClose": (faults.SlowClose, {"delay": delays}),
        "Cut": (faults.Cut, {"how": st.sampled_from(["fin", "reset", "stall"])}),
        "Reset": (faults.Reset, {}),
        "HalfClose": (faults.HalfClose, {}),
        "Stall": (faults.Stall, {}),
        "Blackhole": (faults.Blackhole, {}),
        "Corrupt": (faults.Corrupt, {"bits": st.integers(1, 8)}),
        "Duplicate": (faults.Duplicate, {}),
        "Truncate": (faults.Truncate, {"keep": st.integers(0, 100)}),
        "Drop": (faults.Drop, {}),
    }
    return {name: st.builds(kind, **own, **after) for name, (kind, own) in arguments.items()}


def _cut(data: bytes, borders: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in zip([0, *borders], [*borders, len(data)], strict=True)]


def _possible(steps: list[Leaving]) -> list[Leaving]:
    """Return the steps that a peer can still take."""
    gone: set[str] = set()
    ended: set[str] = set()
    found: list[Leaving] = []
    for step in steps:
        if step.peer in gone or (step.how == "half_close" and step.peer in ended):
            continue
        (ended if step.how == "half_close" else gone).add(step.peer)
        found.append(step)
    return found
