"""Compare interpose with other proxies on this machine: CPU per unit of work, rates, latency, memory.

    python3 -m benches.compare              everything, about an hour after the first build
    python3 -m benches.compare --quick      under 3 minutes, against HAProxy only
    python3 -m benches.compare --tls        with TLS at one end or both, instead of plain TCP
    python3 -m benches.compare --check      exit 1 when a goal is missed
    python3 -m benches.compare --write      put the tables and plots into docs

One proxy runs at a time, with one worker, pinned to one CPU; the load generator and its backend share
another. Peers take turns within a repeat, so that what changes on the machine meets them all.
Run it from the root of a checkout. Linux only; needs cargo, and whichever of haproxy, nginx (with stream) and
socat are to be compared.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import builds, figures, goals, tables
from .figures import Results, Run, Workload
from .peers.peer import DIRECT, OURS, OURS_CALLBACK, Peer, open_files
from .peers.process import PeerError, running, started
from .peers.roster import MAIN, all_peers

QUICK_PEERS = (DIRECT, OURS, "haproxy", "haproxy-splice", "uvloop", OURS_CALLBACK, "uvloop-cb")
PAGE = builds.ROOT / "docs" / "explanation" / "performance.md"
PLOTS = builds.ROOT / "docs" / "plots"
# What a measurement may take beyond its window: opening thousands of connections, one process each at worst.
GRACE = 60.0


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short windows, HAProxy only, under 3 minutes")
    parser.add_argument("--tls", action="store_true", help="measure TLS instead of plain TCP")
    parser.add_argument("--only", default="", help=f"workloads, comma between (default {','.join(figures.FULL)})")
    parser.add_argument("--peers", default="", help=f"names, comma between; {DIRECT} and {OURS} are among them")
    parser.add_argument("--repeats", type=at_least_one, help="how often everything is measured (default 3, quick 2)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (default 3, quick 1)")
    parser.add_argument(
        "--cpus", default="", help="the proxy's and the load's CPU, such as 0,1 (default: the first two)"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed or a run of ours fails")
    parser.add_argument("--write", action="store_true", help="write the tables and plots into docs")
    parser.add_argument(
        "--results", type=Path, help="where raw figures are kept (default target/compare.json, or compare-tls.json)"
    )
    parser.add_argument("--again", action="store_true", help="measure nothing: report the kept figures")
    parser.add_argument("--install", action="store_true", help="install the peers first (as root, on Debian or Ubuntu)")
    parser.add_argument("--interpose", type=Path, help="the interpose command to measure (default: built from here)")
    options = parser.parse_args(arguments)
    options.results = options.results or builds.ROOT / "target" / f"compare{'-tls' if options.tls else ''}.json"
    return options


def at_least_one(text: str) -> int:
    """Read a number of repeats."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("there has to be one repeat at least")
    return number


class Comparison:
    """Measures each peer under each workload."""

    def __init__(self, options: argparse.Namespace, load: Path, peers: list[Peer], certificates: Path) -> None:
        self.load = load
        self.certificates = certificates
        self.peers = peers
        self.repeats = int(options.repeats or (2 if options.quick else 3))
        self.seconds = float(options.seconds or (1.0 if options.quick else 3.0))
        self.warmup = min(0.5, self.seconds / 4)
        self.cpus = choose_cpus(options.cpus)
        usual = figures.TLS if options.tls else figures.QUICK if options.quick else figures.FULL
        names = options.only.split(",") if options.only else usual
        self.workloads = [Workload.parse(name.strip()) for name in names]
        self.only_main = () if options.only or options.quick else figures.BETWEEN

    def run(self) -> Iterator[list[Run]]:
        """Measure everything; one workload after the other, the peers by turns. Give each workload's runs."""
        for workload in self.workloads:
            runs: list[Run] = []
            peers = [peer for peer in self.peers if self.takes_part(peer, workload)]
            for repeat in range(self.repeats):
                # Nobody is always the one after the same neighbour.
                turn = repeat % max(1, len(peers))
                for peer in peers[turn:] + peers[:turn]:
                    run = self.measure(workload, peer, repeat)
                    say(run)
                    runs.append(run)
            yield runs

    def takes_part(self, peer: Peer, workload: Workload) -> bool:
        """Tell whether this peer is measured under this workload."""
        if workload.tls or peer.name != DIRECT:
            if peer.command_for(workload.tls) is None:
                return False
        elif workload.kind == "idle":
            return False
        if workload.name in self.only_main and peer.name not in MAIN:
            return False
        return peer.takes(workload.connections + workload.idle)

    def measure(self, workload: Workload, peer: Peer, repeat: int) -> Run:
        """Measure one peer once."""
        try:
            raw = self.raw(workload, peer)
            if raw["errors"]:
                raise PeerError(f"{raw['errors']} connections failed")
            found = figures.figures_of(workload, raw, direct=peer.name == DIRECT)
        except (PeerError, ValueError) as error:
            return Run(workload.name, peer.name, repeat, error=str(error))
        foreign = figures.foreign_share(raw, *self.cpus)
        return Run(workload.name, peer.name, repeat, found, foreign, quantiles=raw.get("quantiles", []))

    def raw(self, workload: Workload, peer: Peer) -> dict[str, Any]:
        """Start the load generator and the peer, measure, and end both."""
        connections = min(workload.connections, open_files() // 4)
        order = workload.order(connections, self.seconds, self.warmup)
        with started([str(self.load), "run"], self.cpus[1]) as load:
            assert load.stdout is not None
            first = load.stdout.readline()
            if not first:
                raise PeerError(f"the load generator did not start: {load.communicate()[1].strip()}")
            command = peer.command_for(workload.tls)
            if command is None:
                return self.give_order(load, order)
            if workload.tls:
                order += f" certificates={self.certificates}"
            backend = int(json.loads(first)["backend"])
            with running(command, backend, self.cpus[0], self.certificates) as proxy:
                return self.give_order(load, f"{order} target=127.0.0.1:{proxy.port} pid={proxy.pid}")

    def give_order(self, load: subprocess.Popen[str], order: str) -> dict[str, Any]:
        """Have the load generator measure; give what it counted."""
        try:
            output, complaint = load.communicate(order + "\n", self.warmup + self.seconds + GRACE)
        except subprocess.TimeoutExpired as error:
            raise PeerError("the measurement did not end in time") from error
        if load.returncode != 0:
            raise PeerError(complaint.strip())
        result: dict[str, Any] = json.loads(output)
        return result


def choose_cpus(text: str) -> tuple[int, int]:
    """Give the proxy's and the load generator's CPU."""
    allowed = sorted(os.sched_getaffinity(0))
    chosen = [int(word) for word in text.split(",")] if text else allowed[:2]
    if len(set(chosen)) != 2 or not set(chosen) <= set(allowed):
        raise ValueError(f"two CPUs are needed, of {allowed}: one for the proxy, one for the load")
    return chosen[0], chosen[1]


def choose_peers(options: argparse.Namespace, everyone: list[Peer]) -> list[Peer]:
    """Give the peers asked for that can run here."""
    names = [peer.name for peer in everyone]
    with_tls = [peer.name for peer in everyone if peer.tls]
    usual = with_tls if options.tls else list(QUICK_PEERS) if options.quick else names
    wanted = options.peers.split(",") if options.peers else usual
    unknown = set(wanted) - set(names)
    if unknown:
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [peer for peer in everyone if peer.name in wanted]
    for peer in chosen:
        if missing := peer.missing():
            print(missing, file=sys.stderr)
    return [peer for peer in chosen if not peer.missing()]


def say(run: Run) -> None:
    """Show that work goes on."""
    shown = "  ".join(f"{name} {value:,.4g}" for name, value in run.figures.items())
    print(f"{run.workload:13} {run.peer:15} {run.repeat + 1}  {run.error or shown}", file=sys.stderr, flush=True)


def describe_machine(comparison: Comparison) -> dict[str, str]:
    """Tell what the figures are taken on and with."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    versions = dict.fromkeys(peer.version_line() for peer in comparison.peers)
    return {
        "measured": f"{time.strftime('%Y-%m-%d', time.gmtime())}: "
        f"{comparison.repeats} interleaved repeats of {comparison.seconds:g} s; median, ± half the range",
        "machine": f"{os.cpu_count()} x {models[0] if models else platform.machine()}, Linux {platform.release()}, "
        f"loopback, congestion control {congestion}",
        "versions": "; ".join(version for version in versions if version),
    }


def take(options: argparse.Namespace, everyone: list[Peer]) -> Results:
    """Build the load generator and measure. What is measured is kept at once, should the rest be given up."""
    load = builds.load_program()
    with TemporaryDirectory(prefix="compare-") as folder:
        subprocess.run([str(load), "certificates", folder], check=True, timeout=GRACE)
        comparison = Comparison(options, load, choose_peers(options, everyone), Path(folder))
        results = Results([], describe_machine(comparison))
        for runs in comparison.run():
            results.runs += runs
            results.keep(options.results)
    return results


def main() -> int:
    options = parse_arguments(sys.argv[1:])
    # An end from outside unwinds like Ctrl-C, so that no peer stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.again:
            results, everyone = Results.kept(options.results), all_peers(Path(OURS), Path(), Path())
        else:
            if options.interpose and not options.interpose.exists():
                raise ValueError(f"--interpose {options.interpose}: there is no such file")
            if options.install:
                builds.install_peers()
            everyone = all_peers(
                options.interpose or builds.interpose_command(), builds.peers_environment(), builds.tokio_copy_program()
            )
            results = take(options, everyone)
        text = tables.report(results, everyone)
        print(text)
        if options.write and options.tls:
            tables.write(PAGE, text, tls=True)
        elif options.write:
            builds.draw(options.results, PLOTS)
            tables.write(PAGE, tables.pictures(PLOTS, PAGE), text)
    except (builds.BuildError, OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("compare: interrupted", file=sys.stderr)
        return 130
    if not options.check:
        return 0
    return 0 if passes(results) else 1


def passes(results: Results) -> bool:
    """Tell whether ours never failed and no goal is missed. With nothing to judge, nothing has passed."""
    failed = any(run.peer == OURS for run in results.errors())
    judged = goals.verdicts(results)
    return bool(judged) and not failed and not any(verdict.fails() for verdict in judged)


if __name__ == "__main__":
    sys.exit(main())
