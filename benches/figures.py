"""Workloads, the figures of one run, and what repeats say together."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

GIB = float(1 << 30)

FULL = (
    "bulk-x1",
    "bulk-x16",
    "rr-64-x1",
    "rr-64-x8",
    "rr-64-x32",
    "rr-64-x256",
    "rr-16384-x32",
    "rr-64-x1000",
    "rr-64-x5000",
    "rr-64-x32-idle9000",
    "crr-x32",
    "idle-x500",
    "idle-x1000",
    "idle-x2000",
    "idle-x5000",
)
# Points that only a plot needs, between others. Of everything, they are measured for the peers in the plot only.
BETWEEN = ("rr-64-x8", "rr-64-x256", "idle-x500", "idle-x1000", "idle-x2000")
QUICK = ("bulk-x1", "bulk-x16", "rr-64-x1", "rr-64-x32", "crr-x32", "idle-x2000")

# Where the proxy speaks TLS, and which of the two ends it speaks it with.
TLS_ENDS = {"terminate": "client", "originate": "backend", "inside": "both"}
_TLS_KINDS = ("crr-x32", "resumed-x32", "bulk-x1", "bulk-x16", "rr-64-x32", "idle-x1000")
TLS = (*(f"{where}-{kind}" for where in ("terminate", "originate") for kind in _TLS_KINDS), "inside-rr-64-x32")
# The share of handshakes that have to be of the kind that is measured; stunnel's clients resume some of theirs.
OF_ITS_KIND = 0.9

_NAME = re.compile(
    rf"((?P<tls>{'|'.join(TLS_ENDS)})-)?(?P<kind>bulk|crr|resumed|idle|rr-(?P<size>[0-9]+))"
    r"-x(?P<connections>[0-9]+)(-idle(?P<idle>[0-9]+))?"
)


@dataclass(frozen=True)
class Workload:
    """`bulk-xN`, `rr-BYTES-xN`, `crr-xN` or `idle-xN`, with N connections; `-idleM` is M idle ones beside them.

    With `terminate-`, `originate-` or `inside-` before it, the proxy speaks TLS with the client, the backend, or both;
    then `crr-xN` makes a full handshake for each connection, and `resumed-xN` goes on with an earlier session.
    """

    name: str
    kind: str
    connections: int
    size: int
    idle: int = 0
    tls: str = ""

    @classmethod
    def parse(cls, name: str) -> "Workload":
        """Read a name; ValueError says what it may be."""
        match = _NAME.fullmatch(name)
        if match is None or int(match["connections"]) == 0 or (match["kind"] == "resumed" and not match["tls"]):
            message = f"'{name}' is no workload: say bulk-xN, rr-BYTES-xN, crr-xN or idle-xN; with TLS, "
            raise ValueError(message + f"{'-, '.join(TLS_ENDS)}- before it, and then resumed-xN, too")
        return cls(
            name,
            match["kind"].split("-")[0],
            int(match["connections"]),
            int(match["size"] or 0),
            int(match["idle"] or 0),
            match["tls"] or "",
        )

    def family(self) -> str:
        """Name what differs from others in more than the number of connections."""
        return f"{self.tls}-{self.kind}" if self.tls else self.kind

    def order(self, connections: int, seconds: float, warmup: float) -> str:
        """Word the load generator's order."""
        size = f" size={self.size}" if self.kind == "rr" else ""
        idle = f" idle={self.idle}" if self.idle else ""
        tls = f" tls={TLS_ENDS[self.tls]} resume={str(self.kind == 'resumed').lower()}" if self.tls else ""
        kind = "crr" if self.kind == "resumed" else self.kind
        return f"{kind} connections={connections}{size}{idle}{tls} seconds={seconds} warmup={warmup}"

    def title(self) -> str:
        """Name it for a table."""
        if self.kind == "rr":
            size = f"{self.size // 1024} KiB" if self.size >= 1024 else f"{self.size} B"
            return f"rr {size} x{self.connections}" + (f", {self.idle:,} idle" if self.idle else "")
        kind = {"crr": "full handshakes", "resumed": "resumed handshakes"}.get(self.kind) if self.tls else None
        return f"{kind or self.kind} x{self.connections}"


@dataclass(frozen=True)
class Run:
    """One measurement of one peer."""

    workload: str
    peer: str
    repeat: int
    figures: dict[str, float] = field(default_factory=dict[str, float])
    # The share of the two CPUs that went to other programs meanwhile.
    foreign: float = 0.0
    error: str = ""
    # Pairs of a share and the latency, in microseconds, below which it lies.
    quantiles: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def as_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return asdict(self)


def figures_of(workload: Workload, raw: dict[str, Any], *, direct: bool) -> dict[str, float]:
    """Work out CPU per unit of work and rates from what the load generator counted."""
    if workload.kind == "idle":
        return {"memory": (raw["memory_after"] - raw["memory_before"]) / raw["held"]}
    connections = raw["connections"]
    kinds = {"bulk": raw["bytes"] / GIB, "rr": raw["replies"], "crr": connections, "resumed": connections}
    units = kinds[workload.kind]
    if units == 0:
        raise ValueError("nothing was moved while it was measured")
    if workload.tls and "handshakes" in raw and raw["handshakes"]:
        resumed = raw["resumed"] / raw["handshakes"]
        if (resumed if workload.kind == "resumed" else 1 - resumed) < OF_ITS_KIND:
            raise ValueError(f"{resumed:.0%} of the handshakes were resumed")
    # Without a proxy, the floor is what both ends cost.
    cpu = raw["load_cpu"] if direct else raw["proxy_cpu"]
    if workload.kind == "bulk":
        return {"cpu": cpu / units, "rate": raw["bytes"] * 8e-9 / raw["seconds"]}
    latencies = {name: float(raw[name]) for name in ("p50", "p90", "p99", "p999")}
    return {"cpu": cpu / units * 1e6, "rate": units / raw["seconds"], **latencies}


def foreign_share(raw: dict[str, Any], proxy_cpu: int, load_cpu: int) -> float:
    """Tell which share of the two CPUs was used by neither the proxy nor the load generator."""
    busy = raw.get("cpus")
    if busy is None:
        return 0.0
    others = busy[proxy_cpu] + busy[load_cpu] - raw["proxy_cpu"] - raw["load_cpu"]
    return max(0.0, float(others) / (2 * float(raw["seconds"])))


@dataclass(frozen=True)
class Summary:
    """A figure over the repeats."""

    middle: float
    lowest: float
    highest: float

    def spread(self) -> float:
        """Give half the range, as a share of the median."""
        return (self.highest - self.lowest) / 2 / self.middle if self.middle else 0.0


class Results:
    """All runs of one comparison."""

    def __init__(self, runs: list[Run], machine: dict[str, str]) -> None:
        self.runs = runs
        self.machine = machine

    def keep(self, path: Path) -> None:
        """Write the raw figures, a line for each run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        runs = ",\n".join(json.dumps(run.as_json()) for run in self.runs)
        path.write_text(f'{{"machine": {json.dumps(self.machine, indent=1)},\n"runs": [\n{runs}\n]}}\n')

    @classmethod
    def kept(cls, path: Path) -> "Results":
        """Read what `keep` wrote."""
        data = json.loads(path.read_text())
        return cls([Run(**run) for run in data["runs"]], data["machine"])

    def workloads(self) -> list[Workload]:
        """List what was measured, in order."""
        return [Workload.parse(name) for name in dict.fromkeys(run.workload for run in self.runs)]

    def values(self, workload: str, peer: str, figure: str) -> dict[int, float]:
        """Give a figure by repeat."""
        return {
            run.repeat: run.figures[figure]
            for run in self.runs
            if run.workload == workload and run.peer == peer and figure in run.figures
        }

    def summary(self, workload: str, peer: str, figure: str) -> Summary | None:
        """Sum up a figure; None if it was not measured."""
        return _summary(list(self.values(workload, peer, figure).values()))

    def quantiles(self, workload: str, peer: str) -> list[tuple[float, float]]:
        """Give the curve of the latencies: at each share the median of the repeats."""
        by_share: dict[float, list[float]] = {}
        for run in self.runs:
            if run.workload == workload and run.peer == peer:
                for share, latency in run.quantiles:
                    by_share.setdefault(share, []).append(latency)
        return [(share, median(latencies)) for share, latencies in sorted(by_share.items())]

    def against(self, workload: str, peer: str, other: str, figure: str, *, ratio: bool = True) -> Summary | None:
        """Sum up the ratio to, or the difference from, another peer in the same repeat."""
        mine, theirs = self.values(workload, peer, figure), self.values(workload, other, figure)
        both = sorted(mine.keys() & theirs.keys())
        if ratio:
            return _summary([mine[repeat] / theirs[repeat] for repeat in both if theirs[repeat]])
        return _summary([mine[repeat] - theirs[repeat] for repeat in both])

    def beside(self, workload: str, other: str, peer: str, figure: str) -> Summary | None:
        """Sum up the ratio of a peer's figure to its own under another workload, in the same repeat."""
        mine, theirs = self.values(workload, peer, figure), self.values(other, peer, figure)
        return _summary([mine[repeat] / theirs[repeat] for repeat in sorted(mine.keys() & theirs.keys())])

    def errors(self) -> list[Run]:
        """List the runs that gave no figures."""
        return [run for run in self.runs if run.error]

    def noise(self) -> Summary:
        """Sum up the share of the CPUs that other programs took."""
        return _summary([run.foreign for run in self.runs if "cpu" in run.figures]) or Summary(0.0, 0.0, 0.0)


def _summary(values: list[float]) -> Summary | None:
    return Summary(median(values), min(values), max(values)) if values else None
