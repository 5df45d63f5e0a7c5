"""The peers: one worker each, listening on and connecting to 127.0.0.1, otherwise as they come."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OURS = "interpose"
DIRECT = "direct"


@dataclass(frozen=True)
class Ports:
    """Where a peer listens, and where the backend does."""

    listen: int
    backend: int


@dataclass(frozen=True)
class Peer:
    """A way from the load generator to its backend."""

    name: str
    title: str
    # The program's arguments; the path is a directory for its configuration.
    command: Callable[[Ports, Path], list[str]] | None = None
    # Prints its version.
    version: tuple[str, ...] = ()
    # A process for every connection: more would measure the machine's memory.
    most_connections: int = 1_000_000

    def missing(self) -> str | None:
        """Say what has to be installed before this peer can run."""
        if not self.version or shutil.which(self.version[0]) is not None:
            return None
        return f"{self.name} is left out: there is no {self.version[0]} here"

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


def _haproxy(extra_global: str, extra_defaults: str) -> Callable[[Ports, Path], list[str]]:
    def command(ports: Ports, directory: Path) -> list[str]:
        # Two sockets for a connection, and pipes for a quarter of them.
        text = f"""
global
    nbthread 1
    maxconn {open_files() // 3}
    {extra_global}
defaults
    mode tcp
    {extra_defaults}
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{ports.listen} backlog 1024
    server backend 127.0.0.1:{ports.backend}
"""
        file = directory / "haproxy.cfg"
        file.write_text(text)
        return ["haproxy", "-db", "-f", str(file)]

    return command


def _nginx(ports: Ports, directory: Path) -> list[str]:
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False, timeout=20).stderr
    words = dict(word.split("=", 1) for word in built.split() if word.startswith("--") and "=" in word)
    module = Path(words.get("--modules-path", "/usr/lib/nginx/modules")) / "ngx_stream_module.so"
    text = f"""
{f"load_module {module};" if module.exists() else ""}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections {open_files() - 100}; }}
stream {{
    proxy_buffer_size 64k;
    proxy_timeout 1h;
    server {{
        listen 127.0.0.1:{ports.listen} backlog=1024;
        proxy_pass 127.0.0.1:{ports.backend};
    }}
}}
"""
    file = directory / "nginx.conf"
    file.write_text(text)
    return ["nginx", "-c", str(file), "-p", str(directory), "-e", str(directory / "nginx.log")]


def _socat(ports: Ports, _: Path) -> list[str]:
    listen = f"TCP-LISTEN:{ports.listen},bind=127.0.0.1,fork,reuseaddr,backlog=1024,nodelay"
    return ["socat", "-b", "65536", listen, f"TCP:127.0.0.1:{ports.backend},nodelay"]


def _asyncio(ports: Ports, _: Path) -> list[str]:
    relay = Path(__file__).with_name("asyncio_relay.py")
    return [sys.executable, str(relay), str(ports.listen), str(ports.backend)]


def all_peers(interpose: Path) -> list[Peer]:
    """Give every peer, in the order of the tables; `interpose` is the command to measure."""

    def ours(ports: Ports, _: Path) -> list[str]:
        return [str(interpose), f"127.0.0.1:{ports.listen}", f"127.0.0.1:{ports.backend}", "-q"]

    splice = _haproxy("tune.pipesize 262144", "option splice-request\n    option splice-response")
    python = (sys.executable, "--version")
    return [
        Peer(DIRECT, "direct, no proxy"),
        Peer(OURS, "**interpose**", ours, (str(interpose), "--version")),
        Peer("haproxy", "HAProxy", _haproxy("", ""), ("haproxy", "-v")),
        Peer("haproxy-splice", "HAProxy with splice", splice, ("haproxy", "-v")),
        Peer("nginx", "nginx stream, 64 KiB", _nginx, ("nginx", "-v")),
        Peer("socat", "socat, fork", _socat, ("socat", "-V"), most_connections=200),
        Peer("asyncio", "asyncio streams", _asyncio, python),
    ]
