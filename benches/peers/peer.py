"""What a peer of the comparison is."""

import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

OURS = "interpose"
OURS_CALLBACK = "interpose-cb"
OURS_PARTS = "interpose-parts"
OURS_ASYNC = "interpose-async"
OURS_ASYNC_UVLOOP = "interpose-async-uvloop"
OURS_FRAMED = "interpose-framed"
OURS_LINES = "interpose-lines"
OURS_PREFIXED = "interpose-prefixed"
OURS_PASSED = "interpose-passed"
OURS_LIMIT = "interpose-limit"
OURS_PREREAD = "interpose-preread"
OURS_CAPTURE = "interpose-capture"
OURS_ON_CLOSE = "interpose-on-close"
OURS_REPLACE = "interpose-replace"
OURS_UNMATCHED = "interpose-unmatched"
OURS_HEXDUMP = "interpose-hexdump"
OURS_LATENCY = "interpose-latency"
OURS_LINK = "interpose-link"
OURS_LATE_LINK = "interpose-late-link"
OURS_NO_FAULTS = "interpose-no-faults"
OURS_STAGE = "interpose-stage"
OURS_BESIDE_BURNER = "interpose-burn"
OURS_BESIDE_PROCESS = "interpose-burn-apart"
OURS_BESIDE_STUCK = "interpose-stuck"
DIRECT = "direct"
UNBOUNDED = 1_000_000
# For those that are to be compared with each other, and at one load only.
FEW = 32


@dataclass(frozen=True)
class Ports:
    """Where a peer listens, and where the backend does; with TLS, the folder of the certificates."""

    listen: int
    backend: int
    certificates: Path = Path()


Command = Callable[[Ports, Path], list[str]]


@dataclass(frozen=True)
class Peer:
    """A way from the load generator to its backend."""

    name: str
    title: str
    # The program's arguments; the path is a directory for its configuration.
    command: Command | None = None
    # Prints its version.
    version: tuple[str, ...] = ()
    # With more it does not run, or not within a measurement: workloads that have more leave it out.
    most_connections: int = UNBOUNDED
    # Whether it calls a function on every chunk, or at the end: in the plots these stand apart.
    callback: bool = False
    # Whether what the program needs beside itself is there.
    needs: Callable[[], bool] = lambda: True
    # Its commands for each way to speak TLS that it is measured with: terminate, originate, inside.
    tls: dict[str, Command] = field(default_factory=dict[str, Command], hash=False)

    def command_for(self, tls: str) -> Command | None:
        """Give what starts it for plain TCP, or for a way to speak TLS."""
        return self.tls.get(tls) if tls else self.command

    def takes(self, connections: int) -> bool:
        """Tell whether it is measured with so many connections."""
        return connections <= self.most_connections

    def missing(self) -> str | None:
        """Say what has to be installed before this peer can run."""
        if self.version and shutil.which(self.version[0]) is None:
            return f"{self.name} is left out: there is no {self.version[0]} here"
        return None if self.needs() else f"{self.name} is left out: a module of it is not installed"

    def version_line(self) -> str:
        """Give the first line about a version that the program prints."""
        if not self.version or self.missing():
            return ""
        done = subprocess.run(self.version, capture_output=True, text=True, check=False, timeout=20)
        lines = (done.stdout + done.stderr).splitlines()
        return next((line.strip() for line in lines if any(c.isdigit() for c in line)), "")


# What a measurement can need at most; nginx takes memory for every connection it may have.
MOST_FILES = 65_536


def open_files() -> int:
    """Allow this process and its children the open files they may need; give the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
