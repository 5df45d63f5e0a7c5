"""Draws a comparison as SVG: `python -m benches.plots RESULTS FOLDER`.

It needs the environment of the peers, which has matplotlib. The same results give the same files, byte for byte.
"""

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from .curves import (
    TAIL,
    Curve,
    against_connections,
    apart,
    by_cost,
    is_ours,
    latency_curves,
    median_and_99,
    median_of,
    nines,
    title_of,
)
from .figures import GIB, Results, Workload
from .peers.peer import DIRECT, OURS, Peer
from .peers.roster import all_peers
from .tables import PLOTS, RATES, UNITS

# Inches, of 96 pixels: as wide as the column of a README, so that it is shown without scaling.
WIDTH = 8.7
# Some room at both sides, for a reader's font that is a little wider after all.
MARGINS = (0.012, 0, 0.976, 1)
INK, FAINT, GRID = "#24292f", "#6e7781", "#d8dee4"
OURS_COLOUR, OTHER_COLOUR = "#d55e00", "#a9b8c6"
# Of Paul Tol's muted scheme, which the colour-blind can tell apart (its cyan is darker here, to be read as text), and a
# vermilion that stands out from it.
COLOURS = {
    DIRECT: "#8c959f",
    OURS: OURS_COLOUR,
    "haproxy": "#332288",
    "nginx": "#44aa99",
    "tokio-copy": "#999933",
    "uvloop": "#aa4499",
    "asyncio": "#4a9fc7",
}
# Text is measured with the font that matplotlib brings and shown with the reader's, which is hardly wider.
MEASURED_FONT, SHOWN_FONTS = "'DejaVu Sans'", "-apple-system, 'Segoe UI', 'DejaVu Sans', Verdana, sans-serif"

BARS = ("bulk-x1", "bulk-x16", "rr-64-x32", "crr-x32")
# How far left of the floor the bars begin, on their logarithmic scale.
BEFORE_FLOOR = 3
LATENCIES = ("rr-64-x1", "rr-64-x32")


def draw_latency(results: Results, peers: list[Peer]) -> Figure | None:
    """Draw which share of the requests is answered within a time."""
    names = [workload.name for workload in results.workloads() if workload.name in LATENCIES]
    if not any(latency_curves(results, name, peers) for name in names):
        return None
    figure, panels = _figure(2.75 * len(names), len(names))
    for axes, name in zip(panels, names, strict=True):
        curves = sorted(latency_curves(results, name, peers), key=median_of)
        for curve in curves:
            _line(axes, Curve(curve.peer, [(latency, nines(share)) for share, latency in curve.points]))
        _key(axes, [(curve, *median_and_99(results, name, curve.peer)) for curve in curves])
        _latency_axes(axes, Workload.parse(name))
    return figure


def _latency_axes(axes: Axes, workload: Workload) -> None:
    axes.set_title(f"Latency: {workload.size} B there and back, {_connections(workload.connections)}")
    axes.set_xscale("log")
    axes.set_xlabel("latency, µs (log scale)")
    _plain_log(axes, (1, 2, 5))
    shares = (0.0, 0.5, 0.9, 0.99, 0.999)
    axes.set_yticks([nines(share) for share in shares], [f"{share * 100:g} %" for share in shares])
    axes.set_ylim(0, nines(TAIL) * 1.02)
    axes.set_ylabel("requests answered within")


def _key(axes: Axes, rows: list[tuple[Curve, float, float]]) -> None:
    """Name the curves beside the panel, in the order of their medians."""

    def put(points: float, y: float, text: str, **style: str) -> None:
        side = "left" if points == names else "right"
        axes.annotate(text, (1, y), (points, 0), "axes fraction", textcoords="offset points", ha=side, **style)

    names, columns = 12, (158, 195)
    put(names, 0.93, "µs at", color=FAINT)
    for x, text in zip(columns, ("50 %", "99 %"), strict=True):
        put(x, 0.93, text, color=FAINT)
    for number, (curve, *latencies) in enumerate(rows):
        y, style = 0.82 - 0.105 * number, _text_style(curve.peer)
        put(names, y, title_of(curve.peer), **style)
        for x, value in zip(columns, latencies, strict=True):
            put(x, y, f"{value:,.0f}", **style)


def draw_cpu(results: Results, peers: list[Peer]) -> Figure | None:
    """Draw CPU per unit of work as bars against the floor, which is what both ends cost without a proxy."""
    names = [name for name in BARS if results.summary(name, DIRECT, "cpu")]
    groups = [
        (title, by_cost(results, names, [p for p in peers if p.callback == callback and p.name != DIRECT]))
        for title, callback in (("Relay only", False), ("With callbacks", True))
    ]
    groups = [(title, ranked) for title, ranked in groups if ranked]
    if not groups:
        return None
    bars = [len(ranked) for _, ranked in groups]
    figure = Figure(figsize=(WIDTH, 1.35 + 0.23 * sum(bars) + 0.3 * len(bars)), layout="constrained")
    grid = figure.subplots(
        len(groups), len(names), squeeze=False, sharex="col", sharey="row", gridspec_kw={"height_ratios": bars}
    )
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.06, rect=MARGINS)
    for row, (title, ranked) in zip(grid, groups, strict=True):
        for axes, name in zip(row, names, strict=True):
            _bars(axes, results, name, ranked)
        row[0].set_yticks(range(len(ranked)), [title_of(peer) for peer in ranked])
        for label, peer in zip(row[0].get_yticklabels(), ranked, strict=True):
            label.set(**({"color": OURS_COLOUR, "fontweight": "bold"} if is_ours(peer) else {}))
        row[0].set_ylim(len(ranked) - 0.4, -0.6)
        row[0].text(-0.08, 1.03, title, transform=row[0].transAxes, ha="right", va="bottom", fontweight="bold")
    for axes, name in zip(grid[0], names, strict=True):
        workload = Workload.parse(name)
        axes.set_title(workload.title(), pad=18)
        axes.text(0, 1.03, UNITS[workload.kind], transform=axes.transAxes, va="bottom", color=FAINT)
    for axes, name in zip(grid[-1], names, strict=True):
        _bar_axes(axes, results, name, [peer for _, ranked in groups for peer in ranked])
    note = "log scale; direct is what both ends cost without a proxy; thin lines: lowest to highest of the repeats"
    figure.supxlabel(note, fontsize=8.5, color=FAINT)
    return figure


def _bars(axes: Axes, results: Results, name: str, peers: list[Peer]) -> None:
    floor = _floor(results, name)
    begin = floor / BEFORE_FLOOR
    axes.set_xscale("log")
    for y, peer in enumerate(peers):
        cpu = results.summary(name, peer.name, "cpu")
        # A window that is too short for the clock of CPU times gives 0, which has no place on this scale.
        if cpu is None or not cpu.lowest:
            _beside(axes, begin, y, "not measured", fontsize=7.5, color=FAINT)
            continue
        ours = is_ours(peer)
        axes.barh(y, cpu.middle - begin, left=begin, height=0.7, color=OURS_COLOUR if ours else OTHER_COLOUR, zorder=2)
        axes.plot((cpu.lowest, cpu.highest), (y, y), color=INK, linewidth=0.8, zorder=3)
        style = {"color": OURS_COLOUR, "fontweight": "bold"} if ours else {}
        text = f"{cpu.middle:,.{2 if cpu.middle < 10 else 1 if cpu.middle < 100 else 0}f}"
        _beside(axes, max(cpu.highest, floor), y, text, fontsize=8, **style)
    axes.axvline(floor, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=4)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="both", length=0)
    axes.spines["left"].set_visible(False)


def _beside(axes: Axes, x: float, y: float, text: str, **style: object) -> None:
    # A space before the text would do in a picture, but a browser leaves it out.
    axes.annotate(text, (x, y), (3, 0), textcoords="offset points", va="center", **style)


def _bar_axes(axes: Axes, results: Results, name: str, peers: list[Peer]) -> None:
    floor = _floor(results, name)
    found = [cpu for cpu in (results.summary(name, peer.name, "cpu") for peer in peers) if cpu and cpu.lowest]
    low = floor / BEFORE_FLOOR
    high = max([floor * 2, *(cpu.highest for cpu in found)])
    # The number behind the longest bar takes about a quarter of the panel.
    axes.set_xlim(low, high * (high / low) ** 0.33)
    _plain_log(axes, (1,) if high / low > 30 else (1, 2, 5))
    axes.set_xlabel(f"dashed: direct, {floor:.3g}", fontsize=8.5, color=FAINT)


def _floor(results: Results, name: str) -> float:
    summary = results.summary(name, DIRECT, "cpu")
    assert summary is not None
    return summary.middle


def draw_throughput(results: Results, peers: list[Peer]) -> Figure | None:
    """Draw requests per second against connections."""
    workloads = [w for w in results.workloads() if w.kind == "rr" and w.size == 64 and not w.idle]
    curves = against_connections(results, workloads, peers, "rate", lambda _, rate: rate.middle / 1000)
    if not curves:
        return None
    figure, (axes,) = _figure(3.9, 1)
    for curve in curves:
        _line(axes, curve, marker="o")
    axes.set_xscale("log")
    axes.set_title("Throughput: 64 B there and back over each connection")
    axes.set_ylabel(f"thousand {RATES['rr']}")
    _connections_axis(axes, workloads, "connections (log scale)")
    _end_labels(axes, curves)
    return figure


def draw_memory(results: Results, peers: list[Peer]) -> Figure | None:
    """Draw what a proxy's memory grows by against idle connections."""
    workloads = [workload for workload in results.workloads() if workload.kind == "idle"]
    mebibytes = GIB / 1024
    curves = against_connections(
        results, workloads, peers, "memory", lambda workload, each: each.middle * workload.connections / mebibytes
    )
    if not curves:
        return None
    named: list[Curve] = []
    for curve in curves:
        most, memory = curve.points[-1]
        named.append(Curve(curve.peer, curve.points, f"{title_of(curve.peer)}: {memory * 1024 / most:.1f} KiB each"))
    figure, (axes,) = _figure(3.6, 1)
    for curve in named:
        _line(axes, curve, marker="o")
    axes.set_title("Memory for idle connections")
    axes.set_ylabel("growth of the proxy's memory, MiB")
    axes.set_xlim(0)
    _connections_axis(axes, workloads, "idle connections")
    _end_labels(axes, named)
    return figure


def _connections_axis(axes: Axes, workloads: list[Workload], title: str) -> None:
    numbers = sorted({workload.connections for workload in workloads})
    axes.set_xlabel(title)
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
    axes.set_ylim(0)


def _end_labels(axes: Axes, curves: list[Curve]) -> None:
    """Name each curve behind its last point, apart from its neighbours, with a thin line where it had to give way."""
    top = axes.get_ylim()[1]
    gap = 0.062 * top
    ends = sorted(curves, key=lambda curve: curve.points[-1][1])
    right = max(curve.points[-1][0] for curve in curves)
    places = apart([curve.points[-1][1] for curve in ends], gap)
    for curve, place in zip(ends, places, strict=True):
        x, y = curve.points[-1]
        axes.annotate(
            curve.label,
            (x, y),
            xytext=(1.025, place / top),
            textcoords=("axes fraction", "axes fraction"),
            va="center",
            annotation_clip=False,
            arrowprops=_leader(curve.peer) if abs(place - y) > gap / 3 else None,
            **_text_style(curve.peer),
        )
    low = axes.get_xlim()[0]
    axes.set_xlim(low, right * (1.0 if axes.get_xscale() == "linear" else 1.1))


def _leader(peer: Peer) -> dict[str, object]:
    return {
        "arrowstyle": "-",
        "linewidth": 0.6,
        "color": COLOURS[peer.name],
        "shrinkA": 0,
        "shrinkB": 4,
        "relpos": (0, 0.5),
    }


def _line(axes: Axes, curve: Curve, marker: str = "") -> None:
    name = curve.peer.name
    ours = name == OURS
    axes.plot(
        *zip(*curve.points, strict=True),
        color=COLOURS[name],
        linewidth=2.6 if ours else 1.4,
        linestyle="--" if name == DIRECT else "-",
        marker=marker,
        markersize=5 if ours else 3.5,
        clip_on=not marker,
        zorder=5 if ours else 3,
    )


def _text_style(peer: Peer) -> dict[str, str]:
    return {"color": COLOURS[peer.name], "fontweight": "bold" if peer.name == OURS else "normal"}


def _connections(number: int) -> str:
    return f"{number:,} connection" + ("" if number == 1 else "s")


def _plain_log(axes: Axes, steps: tuple[int, ...]) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,g}"))


def _figure(height: float, panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(rect=MARGINS)
    return figure, list(figure.subplots(panels, 1, squeeze=False)[:, 0])


def _style() -> None:
    mpl.rcParams.update(
        {
            "svg.hashsalt": "interpose",
            "svg.fonttype": "none",
            "font.family": ["DejaVu Sans"],
            "font.size": 9,
            "figure.facecolor": "white",
            "text.color": INK,
            "axes.edgecolor": GRID,
            "axes.labelcolor": INK,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "xtick.color": FAINT,
            "ytick.color": FAINT,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
        }
    )


DRAW = {"cpu": draw_cpu, "latency": draw_latency, "throughput": draw_throughput, "memory": draw_memory}


def main(results: Path, folder: Path) -> None:
    """Draw what was measured; remove the plots of what was not."""
    folder.mkdir(parents=True, exist_ok=True)
    _style()
    measured, peers = Results.kept(results), all_peers(Path(OURS), Path(), Path())
    for name in PLOTS:
        file = folder / f"{name}.svg"
        figure = DRAW[name](measured, peers)
        if figure is None:
            file.unlink(missing_ok=True)
            continue
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        file.write_text(file.read_text().replace(MEASURED_FONT, SHOWN_FONTS))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
