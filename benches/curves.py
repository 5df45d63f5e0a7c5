"""What the plots show of a comparison: curves, their order, and places for their names."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log10, prod

from .figures import Results, Summary, Workload
from .peers.peer import DIRECT, OURS, Peer
from .peers.roster import MAIN

# Beyond this share a measurement has too few requests for a curve.
TAIL = 0.999


@dataclass(frozen=True)
class Curve:
    """One peer's points."""

    peer: Peer
    points: list[tuple[float, float]]
    label: str = ""


def latency_curves(results: Results, name: str, peers: list[Peer]) -> list[Curve]:
    """Give pairs of a share and the latency below which it lies."""
    found = [(peer, results.quantiles(name, peer.name)) for peer in _main(peers)]
    return [Curve(peer, [(s, v) for s, v in points if s <= TAIL and v > 0]) for peer, points in found if points]


def median_of(curve: Curve) -> float:
    """Give the latency of half of them, for an order."""
    return next(latency for share, latency in curve.points if share >= 0.5)


def median_and_99(results: Results, name: str, peer: Peer) -> tuple[float, float]:
    """Give two figures of a curve as the tables have them."""
    half, most = (results.summary(name, peer.name, figure) for figure in ("p50", "p99"))
    assert half is not None
    assert most is not None
    return half.middle, most.middle


def nines(share: float) -> float:
    """Give a share's place on a scale where each nine takes as much room as the one before."""
    return -log10(1 - share)


def _main(peers: list[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.name in MAIN]


def against_connections(
    results: Results,
    workloads: list[Workload],
    peers: list[Peer],
    figure: str,
    value: Callable[[Workload, Summary], float],
) -> list[Curve]:
    """Give the curves of those that were measured with more than one number of connections."""
    curves: list[Curve] = []
    for peer in _main(peers):
        found = [(w, results.summary(w.name, peer.name, figure)) for w in workloads]
        points = sorted((float(w.connections), value(w, summary)) for w, summary in found if summary)
        if len(points) > 1:
            curves.append(Curve(peer, points, title_of(peer)))
    return curves


def by_cost(results: Results, names: list[str], peers: list[Peer]) -> list[Peer]:
    """Sort by the mean of the ratios to the floor, over the workloads in which there is one."""

    def mean(peer: Peer) -> float:
        ratios = [results.against(name, peer.name, DIRECT, "cpu") for name in names]
        known = [ratio.middle for ratio in ratios if ratio and ratio.middle]
        return prod(known) ** (1 / len(known)) if known else 0.0

    return sorted((peer for peer in peers if mean(peer)), key=mean)


def apart(places: list[float], gap: float) -> list[float]:
    """Move sorted places so that neighbours are a gap apart, as little as that takes, and none is below 0."""
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _lowest(groups[-1], gap) < _lowest(groups[-2], gap) + gap * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    return [_lowest(group, gap) + gap * number for group in groups for number in range(len(group))]


def _lowest(group: list[float], gap: float) -> float:
    return max(0.0, sum(group) / len(group) - gap * (len(group) - 1) / 2)


def is_ours(peer: Peer) -> bool:
    return peer.name.startswith(OURS)


def title_of(peer: Peer) -> str:
    return peer.title.replace("**", "")
