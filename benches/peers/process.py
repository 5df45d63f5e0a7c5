"""Processes of the benchmark: pinned to a CPU, waited for with a bound, and always ended."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .peer import Command, Ports

START_TIME = 10.0
END_TIME = 3.0


class PeerError(Exception):
    """A peer did not start, or a measurement through it failed."""


@dataclass(frozen=True)
class Running:
    """A peer that accepts connections."""

    pid: int
    port: int


@contextmanager
def pinned(cpu: int) -> Generator[None, None, None]:
    """Have processes started here run on this CPU only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(command: list[str], cpu: int) -> Generator[subprocess.Popen[str], None, None]:
    """Start a program that we talk to over pipes; end it afterwards."""
    with pinned(cpu):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            end(process)


@contextmanager
def running(command: Command, backend: int, cpu: int, certificates: Path) -> Generator[Running, None, None]:
    """Start a peer in front of a backend; end it and its children afterwards."""
    with TemporaryDirectory(prefix="compare-") as name:
        directory = Path(name)
        # nginx reads its files as another user when root starts it.
        directory.chmod(0o755)
        ports = Ports(free_port(), backend, certificates)
        with (directory / "output").open("w+") as output:
            with pinned(cpu):
                process = subprocess.Popen(
                    command(ports, directory),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            try:
                _wait_until_listening(process, ports.listen)
                yield Running(process.pid, ports.listen)
            except PeerError as error:
                output.seek(0)
                raise PeerError(f"{error}; it said: {output.read()[-500:].strip() or 'nothing'}") from error
            finally:
                end(process)


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on now. A peer that loses it to another process fails to start."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process that leads its own group, and everything in that group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIME
    while True:
        if process.poll() is not None:
            raise PeerError(f"it ended with status {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError as error:
            if time.monotonic() >= deadline:
                raise PeerError(f"it did not listen within {START_TIME:g} s") from error
            time.sleep(0.01)
        else:
            return
