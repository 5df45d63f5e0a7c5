"""The ratios that a comparison is checked against."""

from dataclasses import dataclass

from .figures import FULL, Results, Summary
from .peers.peer import (
    OURS,
    OURS_ASYNC,
    OURS_ASYNC_UVLOOP,
    OURS_BESIDE_BURNER,
    OURS_BESIDE_PROCESS,
    OURS_BESIDE_STUCK,
    OURS_CALLBACK,
    OURS_CAPTURE,
    OURS_FRAMED,
    OURS_HEXDUMP,
    OURS_LATE_LINK,
    OURS_LATENCY,
    OURS_LIMIT,
    OURS_LINES,
    OURS_LINK,
    OURS_NO_FAULTS,
    OURS_ON_CLOSE,
    OURS_PASSED,
    OURS_PREFIXED,
    OURS_PREREAD,
    OURS_REPLACE,
    OURS_STAGE,
    OURS_UNMATCHED,
)


@dataclass(frozen=True)
class Goal:
    """A peer's figure in proportion to another's: at most, or for a rate at least, this.

    With "beyond" behind it, it is the difference in microseconds. The other may be a workload: then it is the peer's
    own figure there.
    """

    workload: str
    figure: str
    other: str
    bound: float
    peer: str = OURS
    # Whether a miss is a failure; else it is what we aim at.
    must: bool = True

    def is_met(self, ratio: Summary) -> bool:
        """Judge the median."""
        return ratio.middle >= self.bound if self.figure == "rate" else ratio.middle <= self.bound

    def wording(self) -> str:
        """Say it in words."""
        names = {
            "cpu": "CPU per unit",
            "rate": "units per second",
            "memory": "memory per connection",
            "p50": "median latency",
            "p99": "latency, 99th percentile",
        }
        name, *beyond = self.figure.split()
        sign = "≥" if name == "rate" else "≤"
        bound = f"{self.other} + {self.bound:g} µs" if beyond else f"{self.bound:.3g} x {self.other}"
        return f"{self.peer}, {self.workload}: {names[name]} {sign} {bound}"


def _must(workload: str, figure: str, bound: float, other: str, peer: str = OURS) -> Goal:
    return Goal(workload, figure, other, bound, peer)


def _aim(workload: str, figure: str, bound: float, other: str, peer: str = OURS) -> Goal:
    return Goal(workload, figure, other, bound, peer, must=False)


# A workload's name, or a family: then the one with the most connections is judged, where what a process takes once is
# spread over the most.
GOALS = (
    _must("bulk-x1", "cpu", 1.05, "haproxy-splice"),
    _aim("bulk-x1", "cpu", 0.87, "haproxy-splice"),
    _must("bulk-x16", "cpu", 0.85, "haproxy-splice"),
    _aim("bulk-x16", "cpu", 0.65, "haproxy-splice"),
    _must("bulk-x16", "cpu", 1.0, "uvloop"),
    _aim("bulk-x16", "cpu", 0.75, "uvloop"),
    _must("rr-64-x32", "rate", 1.0, "haproxy"),
    _aim("rr-64-x32", "rate", 1.07, "haproxy"),
    _must("rr-64-x32", "rate", 1.1, "uvloop"),
    _aim("rr-64-x32", "rate", 1.2, "uvloop"),
    _must("rr-64-x1", "p50 beyond", 4.0, "haproxy"),
    _aim("rr-64-x1", "p50 beyond", 1.0, "haproxy"),
    _must("rr-64-x1", "p99 beyond", 15.0, "haproxy"),
    _aim("rr-64-x1", "p99 beyond", 5.0, "haproxy"),
    _must("crr-x32", "cpu", 1.05, "haproxy"),
    _aim("crr-x32", "cpu", 0.95, "haproxy"),
    _must("idle", "memory", 1.0, "haproxy"),
    _aim("idle", "memory", 0.6, "haproxy"),
    _must("rr-64-x32", "rate", 1.0, "uvloop-cb", OURS_CALLBACK),
    _aim("rr-64-x32", "rate", 1.12, "uvloop-cb", OURS_CALLBACK),
    _aim("rr-64-x32", "rate", 1.3, "nginx-njs", OURS_CALLBACK),
    _aim("rr-64-x32", "rate", 2.5, "haproxy-lua", OURS_CALLBACK),
    _must("rr-64-x32", "rate", 30.0, "mitmproxy-cb", OURS_CALLBACK),
    _aim("rr-64-x32", "rate", 40.0, "mitmproxy-cb", OURS_CALLBACK),
    # Out of reach: native relaying, which calls nothing, has 2.2 to 3.0 times the rate of asyncio's streams.
    _aim("rr-64-x32", "rate", 3.0, "asyncio", OURS_ASYNC),
    _must("rr-64-x32", "rate", 1.2, "asyncio", OURS_ASYNC),
    # On the same kind of loop; on one of asyncio's own, which is slower, it is an aim.
    _must("rr-64-x32", "rate", 1.0, "uvloop-async", OURS_ASYNC_UVLOOP),
    _aim("rr-64-x32", "rate", 1.0, "uvloop-async", OURS_ASYNC),
    *(_must("rr-64-x32", "cpu", 1.5, OURS_CALLBACK, peer) for peer in (OURS_FRAMED, OURS_LINES, OURS_PREFIXED)),
    *(
        _must(workload, "cpu", 1.05, OURS, peer)
        for peer in (OURS_PASSED, OURS_LIMIT, OURS_PREREAD)
        for workload in ("rr-64-x1", "rr-64-x32", "bulk-x1", "bulk-x16")
    ),
    _must("bulk-x1", "cpu", 1.0, "uvloop-cb", OURS_CALLBACK),
    _aim("bulk-x1", "cpu", 0.95, "uvloop-cb", OURS_CALLBACK),
    _must("crr-x32", "cpu", 1.05, OURS, OURS_ON_CLOSE),
    _must("bulk-x1", "cpu", 2.0, OURS, OURS_REPLACE),
    _must("bulk-x16", "cpu", 2.0, OURS, OURS_REPLACE),
    _must("rr-64-x32", "rate", 0.9, OURS, OURS_UNMATCHED),
    # A splice and a write to memory: see what was tried.
    _must("bulk-x1", "cpu", 2.0, OURS, OURS_CAPTURE),
    _must("bulk-x1", "cpu", 0.1, "socat-x", OURS_HEXDUMP),
    # Of a link that is slower than what it carries itself, and of native's rate; for that see what was tried.
    _must("bulk-x1", "rate", 0.9, OURS_LINK, OURS_LATE_LINK),
    _must("bulk-x1", "rate", 0.9, OURS, OURS_LATENCY),
    # What waits is held, and so copied into this process, as what passes any stage is. Native's bytes are not.
    _aim("bulk-x1", "rate", 0.9, OURS_STAGE, OURS_LATENCY),
    *(_must(workload, "cpu", 1.05, OURS, OURS_NO_FAULTS) for workload in ("rr-64-x32", "bulk-x1", "bulk-x16")),
    # What nobody looks at waits for no Python. A busy thread may cost no more than it would in another process.
    _must("rr-64-x32", "rate", 0.95, OURS_BESIDE_PROCESS, OURS_BESIDE_BURNER),
    _must("rr-64-x32", "rate", 0.95, OURS, OURS_BESIDE_STUCK),
    _aim("bulk-x1", "rate", 50.0, "tutorial"),
    _aim("bulk-x1", "cpu", 1 / 30, "tutorial"),
    _aim("rr-64-x32", "rate", 2.5, "tutorial"),
    _aim("crr-x32", "rate", 10.0, "tutorial"),
    # Cost stays flat as connections grow from one on. From where it is least on, not even both ends without a proxy do.
    _must("rr-64-x5000", "cpu", 1.15, "rr-64-x1"),
    _aim("rr-64-x5000", "cpu", 1.15, "rr-64-x32"),
    _must("rr-64-x32-idle9000", "cpu", 1.15, "rr-64-x32"),
    *(
        goal(f"{where}-{kind}", "cpu", bound, "haproxy")
        for where in ("terminate", "originate")
        for kind in ("crr-x32", "resumed-x32", "bulk-x1", "bulk-x16", "rr-64-x32")
        for goal, bound in ((_must, 1.1), (_aim, 0.9))
    ),
    *(_must(f"{where}-idle", "memory", 0.5, "haproxy") for where in ("terminate", "originate")),
    _must("inside-rr-64-x32", "rate", 40.0, "mitmproxy-cb", OURS_CALLBACK),
    _must("inside-rr-64-x32", "cpu", 1 / 40, "mitmproxy-cb", OURS_CALLBACK),
)


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured."""

    goal: Goal
    ratio: Summary

    def line(self) -> str:
        """Say whether it is met."""
        word = "met" if self.goal.is_met(self.ratio) else "MISSED" if self.goal.must else "not yet"
        ratio = f"{self.ratio.middle:.2f} ({self.ratio.lowest:.2f} to {self.ratio.highest:.2f})"
        return f"{word:8} {self.goal.wording()}: {ratio}"

    def fails(self) -> bool:
        """Tell whether this alone makes a check fail."""
        return self.goal.must and not self.goal.is_met(self.ratio)


def verdicts(results: Results) -> list[Verdict]:
    """Judge every goal whose workload and peers were measured."""
    found: list[Verdict] = []
    for goal in GOALS:
        meant = [w for w in results.workloads() if goal.workload in (w.name, w.family())]
        if not meant:
            continue
        workload = max(meant, key=lambda w: w.connections).name
        name, *beyond = goal.figure.split()
        if goal.other in FULL:
            ratio = results.beside(workload, goal.other, goal.peer, name)
        else:
            ratio = results.against(workload, goal.peer, goal.other, name, ratio=not beyond)
        if ratio is not None:
            found.append(Verdict(goal, ratio))
    return found
