"""Tables of a comparison, as Markdown: for the terminal and for docs/explanation/performance.md."""

from collections.abc import Callable
from pathlib import Path

from .figures import Results, Summary, Workload
from .goals import verdicts
from .peers.peer import DIRECT, OURS, Peer

# Between which lines of the page the tables are: those of plain TCP, and those of TLS.
MARKS = {
    False: ("<!-- figures: begin (written by python3 -m benches.compare --write) -->", "<!-- figures: end -->"),
    True: (
        "<!-- figures of TLS: begin (written by python3 -m benches.compare --tls --write) -->",
        "<!-- figures of TLS: end -->",
    ),
}

NOTHING = "-"
# What the others are put in proportion to.
BASE = "haproxy"
UNITS = {
    "bulk": "CPU-s/GiB",
    "rr": "CPU-µs/request",
    "crr": "CPU-µs/connection",
    "resumed": "CPU-µs/connection",
}
RATES = {"bulk": "Gbit/s", "rr": "requests/s", "crr": "connections/s", "resumed": "connections/s"}
# Where the proxy speaks TLS, before the titles of the tables about that.
SETTINGS = {
    "": "",
    "terminate": "TLS with the client: ",
    "originate": "TLS with the backend: ",
    "inside": "TLS with both, looking inside: ",
}

# What benches/plots.py draws, and what a reader who does not see it is told.
PLOTS = {
    "cpu": "CPU per unit of work of each proxy, as bars against what both ends cost without a proxy",
    "latency": "Share of the requests answered within a time, for each proxy, with 1 and with 32 connections",
    "throughput": "Requests per second against the number of connections, for each proxy",
    "memory": "Memory against the number of idle connections, for each proxy",
}

Cell = Callable[[Peer, Workload], str]


def report(results: Results, peers: list[Peer]) -> str:
    """Give all tables and what has to be known about the run."""
    measured = {run.peer for run in results.runs}
    rows = [peer for peer in peers if peer.name in measured]
    parts = [_about(results)]
    for tls, setting in SETTINGS.items():
        parts += _tables(results, rows, [workload for workload in results.workloads() if workload.tls == tls], setting)
    parts.append(_judgement(results))
    return "\n\n".join(part for part in parts if part)


def _tables(results: Results, rows: list[Peer], workloads: list[Workload], setting: str) -> list[str]:
    active = [workload for workload in workloads if workload.kind != "idle"]
    idle = [workload for workload in workloads if workload.kind == "idle"]
    with_latency = [workload for workload in active if workload.kind == "rr"]
    latency = "latency: median / 99th percentile, µs; in brackets what it adds to direct"
    tables: list[tuple[str, list[Workload], Cell, dict[str, str]]] = [
        ("CPU per unit of work", active, _cpu(results), UNITS),
        ("CPU per unit of work, in proportion to HAProxy", active, _ratio(results), {}),
        ("rates", active, _rate(results), RATES),
        (latency, with_latency, _latency(results), {}),
        ("memory of an idle connection, bytes", idle, _memory(results), {}),
    ]

    def full(title: str) -> str:
        return setting + title if setting else title[0].upper() + title[1:]

    return [_table(full(title), rows, columns, cell, units) for title, columns, cell, units in tables]


def pictures(folder: Path, page: Path) -> str:
    """Refer to the plots that were drawn."""
    drawn = [(folder / f"{name}.svg", text) for name, text in PLOTS.items()]
    return "\n\n".join(f"![{text}]({file.relative_to(page.parent)})" for file, text in drawn if file.exists())


def write(page: Path, *parts: str, tls: bool = False) -> None:
    """Replace what stands between the markers."""
    first, last = MARKS[tls]
    before, begin, rest = page.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{page} lacks the line '{first}' or '{last}'")
    text = "\n\n".join(part for part in parts if part)
    page.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}")


def _about(results: Results) -> str:
    noise = results.noise()
    lines = [f"* {name}: {value}" for name, value in results.machine.items() if value]
    lines.append(
        f"* other programs took {noise.middle:.0%} of the two CPUs in the median run, {noise.highest:.0%} in the worst"
        + ("" if noise.middle <= 0.05 else ": **the machine was busy, so rates and latencies mean little here**")
    )
    lines += [f"* failed: {run.peer}, {run.workload}, repeat {run.repeat + 1}: {run.error}" for run in results.errors()]
    return "\n".join(lines)


def _table(title: str, peers: list[Peer], workloads: list[Workload], cell: Cell, units: dict[str, str]) -> str:
    if not workloads:
        return ""
    heads = [f"{w.title()} {units.get(w.kind, '')}".strip() for w in workloads]
    rows: list[str] = []
    for peer in peers:
        cells = [cell(peer, workload) for workload in workloads]
        if any(text != NOTHING for text in cells):
            rows.append(f"| {peer.title} | {' | '.join(cells)} |")
    head = [f"### {title}", "", f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    return "\n".join(head + rows) if rows else ""


def _with_spread(summary: Summary | None, digits: int) -> str:
    return f"{summary.middle:,.{digits}f} ±{summary.spread():.0%}" if summary else NOTHING


def _cpu(results: Results) -> Cell:
    def cell(peer: Peer, workload: Workload) -> str:
        return _with_spread(results.summary(workload.name, peer.name, "cpu"), 3 if workload.kind == "bulk" else 1)

    return cell


def _rate(results: Results) -> Cell:
    def cell(peer: Peer, workload: Workload) -> str:
        return _with_spread(results.summary(workload.name, peer.name, "rate"), 1 if workload.kind == "bulk" else 0)

    return cell


def _ratio(results: Results) -> Cell:
    def cell(peer: Peer, workload: Workload) -> str:
        if peer.name in (DIRECT, BASE):
            return NOTHING
        ratio = results.against(workload.name, peer.name, BASE, "cpu")
        return f"{ratio.middle:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})" if ratio else NOTHING

    return cell


def _latency(results: Results) -> Cell:
    def cell(peer: Peer, workload: Workload) -> str:
        half = results.summary(workload.name, peer.name, "p50")
        most = results.summary(workload.name, peer.name, "p99")
        if half is None or most is None:
            return NOTHING
        text = f"{half.middle:,.0f} / {most.middle:,.0f}"
        more = [results.against(workload.name, peer.name, DIRECT, figure, ratio=False) for figure in ("p50", "p99")]
        if peer.name == DIRECT or workload.connections > 1:
            # With many connections at once a latency is mostly the time in a queue.
            return text
        return (
            text
            + "".join(f"{mark}{added.middle:+,.0f}" for mark, added in zip((" (", " / "), more, strict=True) if added)
            + ")"
        )

    return cell


def _memory(results: Results) -> Cell:
    def cell(peer: Peer, workload: Workload) -> str:
        return _with_spread(results.summary(workload.name, peer.name, "memory"), 0)

    return cell


def _judgement(results: Results) -> str:
    lines = [verdict.line() for verdict in verdicts(results)]
    if not lines:
        return ""
    return "\n".join([f"### {OURS} against its goals", "", "```text", *lines, "```"])
