"""Every peer of the comparison."""

import atexit
from collections.abc import Callable
from pathlib import Path

from . import programs, python_programs
from .peer import (
    DIRECT,
    FEW,
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
    OURS_PARTS,
    OURS_PASSED,
    OURS_PREFIXED,
    OURS_PREREAD,
    OURS_REPLACE,
    OURS_STAGE,
    OURS_UNMATCHED,
    Command,
    Peer,
    Ports,
)

# A file system in memory.
MEMORY = Path("/dev/shm")
# The load has none of what they look for.
SIXTEEN_BYTES = "sixteen bytes...=other bytes, too"
UNMATCHED = ("--replace", SIXTEEN_BYTES, "--replace-regex", "(unheard|unseen)[0-9]+=none")
# 5 Gbit/s.
LINK = "bandwidth 625MB/s"
# Those whose curves the plots show: each way to relay once, so that the lines can be told apart.
MAIN = (DIRECT, OURS, "haproxy", "nginx", "tokio-copy", "uvloop", "asyncio")


def remove_captures() -> None:
    """Remove what the last measurement has captured."""
    for one in MEMORY.glob("interpose-bench_*.pcapng"):
        one.unlink()


def capturing(ours: Command) -> Command:
    """Return a command that captures into memory, bounded: a fast stream fills that in seconds."""

    def command(ports: Ports, folder: Path) -> list[str]:
        file = MEMORY / "interpose-bench.pcapng"
        atexit.register(remove_captures)
        return [*ours(ports, folder), "--capture", str(file), "--capture-rotate-size", "512MB", "--capture-keep", "1"]

    return command


def filtering(ours: Command, script: Callable[[str], Command], version: tuple[str, ...]) -> list[Peer]:
    """Return those of ours whose filters or faults act on every byte, and one that might have some."""

    def options(*more: str) -> Command:
        return lambda ports, folder: [*ours(ports, folder), *more]

    return [
        Peer(OURS_REPLACE, "**interpose**, replacing 16 bytes", options("--replace", SIXTEEN_BYTES), version),
        Peer(OURS_UNMATCHED, "**interpose**, filters that never match", options(*UNMATCHED), version),
        Peer(
            OURS_HEXDUMP, "**interpose**, hexdump to /dev/null", options("--hexdump", "--output", "/dev/null"), version
        ),
        Peer(OURS_STAGE, "**interpose**, a stage that passes", options("--fault", "slow-close 50ms"), version),
        Peer(OURS_LATENCY, "**interpose**, 50 ms late", options("--fault", "latency 50ms"), version),
        Peer(OURS_LINK, "**interpose**, 5 Gbit/s", options("--fault", LINK), version),
        Peer(
            OURS_LATE_LINK,
            "**interpose**, 5 Gbit/s, 50 ms late",
            options("--fault", LINK, "--fault", "latency 50ms"),
            version,
        ),
        Peer(OURS_NO_FAULTS, "**interpose**, an empty list of faults", script("no-faults"), version),
    ]


def speaking_tls(ours: Command, interpose: Path) -> dict[str, Command]:
    """Return the commands of ours that speak TLS with the client or with the backend."""

    def terminating(ports: Ports, folder: Path) -> list[str]:
        pair = [f"--tls-{name}={ports.certificates / name}.pem" for name in ("cert", "key")]
        return [*ours(ports, folder), *pair]

    def originating(ports: Ports, _: Path) -> list[str]:
        words = [str(interpose), f"127.0.0.1:{ports.listen}", f"tls://127.0.0.1:{ports.backend}", "-q"]
        return [*words, f"--upstream-ca={ports.certificates / 'ca.pem'}"]

    return {"terminate": terminating, "originate": originating}


def calling_back(script: Command, version: tuple[str, ...]) -> Peer:
    """Return the one of ours that calls back for every chunk; also for those that it has looked for inside TLS."""

    def inside(ports: Ports, folder: Path) -> list[str]:
        return [*script(ports, folder), str(ports.certificates / "ca.pem"), str(folder)]

    title = "**interpose**, callback"
    return Peer(OURS_CALLBACK, title, script, version, callback=True, tls={"inside": inside})


def all_peers(interpose: Path, environment: Path, tokio_copy: Path) -> list[Peer]:
    """Give every peer, in the order of the tables.

    `interpose` is the command to measure, `environment` the folder of the Python peers' programs, `tokio_copy` the
    relay on tokio's copy_bidirectional.
    """

    def ours(ports: Ports, _: Path) -> list[str]:
        return [str(interpose), f"127.0.0.1:{ports.listen}", f"127.0.0.1:{ports.backend}", "-q"]

    def script(*hooks: str) -> Command:
        def command(ports: Ports, _: Path) -> list[str]:
            file = Path(__file__).with_name("callback_relay.py")
            return [str(interpose.with_name("python")), str(file), str(ports.listen), str(ports.backend), *hooks]

        return command

    def copy(ports: Ports, _: Path) -> list[str]:
        return [str(tokio_copy), str(ports.listen), str(ports.backend)]

    version = (str(interpose), "--version")
    return [
        Peer(DIRECT, "direct, no proxy"),
        Peer(OURS, "**interpose**", ours, version, tls=speaking_tls(ours, interpose)),
        Peer(OURS_CAPTURE, "**interpose**, captured", capturing(ours), version),
        *programs.relays(),
        Peer("tokio-copy", "tokio copy_bidirectional", copy),
        *python_programs.relays(environment),
        Peer(OURS_BESIDE_BURNER, "**interpose**, Python busy beside it", script("burn"), version),
        Peer(OURS_BESIDE_PROCESS, "**interpose**, another process busy", script("burn-apart"), version),
        Peer(OURS_BESIDE_STUCK, "**interpose**, another server stuck", script("stuck"), version),
        Peer(OURS_ON_CLOSE, "**interpose**, only on_close", script("on_close"), version, callback=True),
        calling_back(script("on_recv"), version),
        Peer(OURS_PARTS, "**interpose**, callback, head and body", script("parts"), version, FEW, callback=True),
        Peer(OURS_ASYNC, "**interpose**, async callback", script("async"), version, callback=True),
        Peer(
            OURS_ASYNC_UVLOOP,
            "**interpose**, async callback on uvloop",
            script("async-uvloop"),
            version,
            callback=True,
            needs=lambda: any(interpose.parent.parent.glob("lib/*/site-packages/uvloop")),
        ),
        Peer(OURS_FRAMED, "**interpose**, callback on messages of 64 B", script("framed"), version, FEW, callback=True),
        Peer(OURS_LINES, "**interpose**, callback on lines of 64 B", script("lines"), version, FEW, callback=True),
        Peer(
            OURS_PREFIXED,
            "**interpose**, callback on messages behind a length",
            script("prefixed"),
            version,
            FEW,
            callback=True,
        ),
        Peer(OURS_PASSED, "**interpose**, passed through from the first chunk on", script("passed"), version),
        Peer(OURS_LIMIT, "**interpose**, native behind inspect_limit", script("limit"), version),
        Peer(OURS_PREREAD, "**interpose**, native behind on_preread", script("preread"), version),
        *filtering(ours, script, version),
        *programs.callbacks(),
        *python_programs.callbacks(environment),
    ]
