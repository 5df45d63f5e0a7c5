"""The ratios that a comparison is checked against."""

from dataclasses import dataclass

from .figures import Results, Summary
from .peers.peer import OURS


@dataclass(frozen=True)
class Goal:
    """Our figure in proportion to a peer's: at most, or for a rate at least, this."""

    workload: str
    figure: str
    other: str
    bound: float
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
        sign = "≥" if self.figure == "rate" else "≤"
        return f"{self.workload}: {names[self.figure]} {sign} {self.bound:g} x {self.other}"


# A workload's kind and size; the number of idle connections does not matter to what one costs.
GOALS = (
    Goal("bulk-x1", "cpu", "haproxy", 1.3),
    Goal("bulk-x16", "cpu", "haproxy", 1.3),
    Goal("rr-64-x1", "cpu", "haproxy", 1.3),
    Goal("rr-64-x32", "cpu", "haproxy", 1.3),
    Goal("crr-x32", "cpu", "haproxy", 1.3),
    Goal("bulk-x1", "cpu", "haproxy-splice", 1.05, must=False),
    Goal("bulk-x16", "cpu", "haproxy-splice", 0.85, must=False),
    Goal("rr-64-x32", "rate", "haproxy", 1.0, must=False),
    Goal("rr-64-x1", "p50", "haproxy", 1.05, must=False),
    Goal("crr-x32", "cpu", "haproxy", 1.05, must=False),
    Goal("idle", "memory", "haproxy", 1.0, must=False),
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
        for workload in results.workloads():
            if goal.workload not in (workload.name, workload.kind):
                continue
            ratio = results.against(workload.name, OURS, goal.other, goal.figure)
            if ratio is not None:
                found.append(Verdict(goal, ratio))
    return found
