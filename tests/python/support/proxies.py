"""Proxies in processes of their own: the `interpose` command, and a scripted one that a test can ask and limit."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .deadline import poll
from .peers import Address
from .processes import Child

HERE = Path(__file__).parent
# The first line says where it listens; a port alone tells the address apart from the words around it.
LISTENING = r"(127\.0\.0\.1|\[::1\]):(\d+)|unix:([^\s,]+)"


def command() -> list[str]:
    """How to start the installed command of the interpreter that runs the tests."""
    script = Path(sys.executable).with_name("interpose")
    return [str(script)] if script.exists() else [sys.executable, "-m", "interpose"]


class ProxyCommand:
    """`interpose LISTEN TARGET` and some options, as a user starts it."""

    def __init__(self, listen: str, target: str, folder: Path, *options: str) -> None:
        self.child = Child([*command(), listen, target, *options], folder, name="interpose")
        first = self.child.wait_for(r"\A.*\n").group()
        found = re.search(LISTENING, first)
        assert found is not None, f"the first line does not say where it listens: {first!r}"
        self.address: Address = (found[1].strip("[]"), int(found[2])) if found[1] else (found[3], 0)
        self.first_line = first

    def stop(self) -> int:
        """SIGTERM, as an init system does: its exit code."""
        return self.child.stop(signal.SIGTERM, 10.0)

    def __enter__(self) -> ProxyCommand:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()


class ProxyProcess:
    """A process that runs servers as the plan says and answers questions about them."""

    def __init__(
        self,
        folder: Path,
        servers: Sequence[Mapping[str, Any]],
        *,
        prefix: Sequence[str] = (),
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        text = json.dumps({**(plan or {}), "servers": list(servers)})
        self.child = Child(
            [*prefix, sys.executable, str(HERE / "proxy_process.py"), text],
            folder,
            name="proxy",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self.hello: dict[str, Any] = self._read(20.0)
        except BaseException:
            self.child.kill()
            raise
        self.pid: int = self.hello.get("pid", 0)
        self.addresses: list[Address] = [(host, port) for host, port in self.hello.get("addresses", [])]

    @property
    def address(self) -> Address:
        """Where the first server listens."""
        return self.addresses[0]

    def _read(self, seconds: float) -> Any:
        stream = self.child.popen.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], seconds)
        line = stream.readline() if ready else b""
        assert line, f"the proxy process gave no answer in {seconds:g} s:\n{self.log()}"
        return json.loads(line)

    def ask(self, word: str, argument: object = None) -> Any:
        """One question, one answer."""
        stream = self.child.popen.stdin
        assert stream is not None
        stream.write(json.dumps([word, argument]).encode() + b"\n")
        stream.flush()
        return self._read(10.0)

    def stats(self, index: int = 0) -> dict[str, Any]:
        """The counters of one server."""
        found: dict[str, Any] = self.ask("stats", index)
        return found

    def closed(self, reason: str, index: int = 0) -> int:
        """How many connections ended with *reason*."""
        count: int = self.stats(index)["closed"].get(reason, 0)
        return count

    def log(self) -> str:
        """What the logging of the process has said so far."""
        return self.child.output()

    def warned(self, *words: str) -> list[str]:
        """The warnings that have all of *words*. Logging comes a moment after the event, so the first is waited for."""

        def found() -> list[str]:
            lines = self.log().splitlines()
            return [line for line in lines if line.startswith("WARNING") and all(word in line for word in words)]

        return poll(found, 5.0, f"a warning with {words}; the log:\n{self.log()}")

    def cpu_seconds(self) -> float:
        """CPU time of every living thread, to the nanosecond (the ticks of stat are too coarse for 5 %)."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def cpu_share(self, seconds: float) -> float:
        """The part of one core used over the next *seconds*."""
        used, begin = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)  # the length of the measurement; nothing waits for anything here
        return (self.cpu_seconds() - used) / (time.monotonic() - begin)

    def resident(self) -> int:
        """Resident memory in bytes."""
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    def descriptors(self) -> int:
        """Open descriptors, once every thread waits: one that starts, or logs, has a file open for a moment."""
        poll(self._all_threads_sleep, 10.0, f"all threads of {self.pid} wait")
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _all_threads_sleep(self) -> bool:
        states = [
            task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{self.pid}/task").glob("*/stat")
        ]
        return all(state == "S" for state in states)

    def __enter__(self) -> ProxyProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
