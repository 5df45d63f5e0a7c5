"""Child processes of tests: found or skipped by name, bounded in time, ended with everything they started."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from .deadline import poll

# Servers are often outside the PATH of an ordinary user, and PostgreSQL's are nowhere near it.
EXTRA_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin")
MARK = f"INTERPOSE_TEST_RUN={uuid.uuid4()}"


def find_program(name: str) -> str | None:
    """The path of *name*, also where only root and Debian look."""
    found = shutil.which(name)
    if found is not None:
        return found
    for pattern in EXTRA_FOLDERS:
        for candidate in sorted(Path("/").glob(f"{pattern[1:]}/{name}"), reverse=True):
            if os.access(candidate, os.X_OK):
                return str(candidate)
    return None


def program(name: str, package: str) -> str:
    """The path of *name*, or a visible skip that says which Debian package has it."""
    found = find_program(name)
    if found is None:
        pytest.skip(f"no program {name}: apt-get install {package}")
    return found


def may_change_user() -> bool:
    """Whether a child can become another user: root can, unless its capabilities were taken away."""
    if os.geteuid() != 0:
        return False
    match = re.search(r"CapEff:\s+([0-9a-f]+)", Path("/proc/self/status").read_text())
    needed = 1 << 0 | 1 << 6 | 1 << 7  # CAP_CHOWN, CAP_SETGID, CAP_SETUID
    return match is not None and int(match[1], 16) & needed == needed


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every child: plain language, and the mark by which leftovers are found."""
    key, value = MARK.split("=")
    # No proxy of the machine may come between a program and the address it is told to use.
    kept = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "LC_ALL": "C", key: value, **(extra or {})}


class Child:
    """A process in a session of its own. Its output (both streams) goes to a file."""

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
    ) -> None:
        self.name = name or Path(argv[0]).name
        self._log = folder / f"{self.name}-{uuid.uuid4().hex[:8]}.log"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                cwd=folder,
                env=environment(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def output(self) -> str:
        """What it has printed until now."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 10.0) -> re.Match[str]:
        """Wait until its output matches; an early end fails at once with what it said."""

        def matched() -> re.Match[str] | None:
            ended = self.popen.poll()
            match = re.search(pattern, self.output(), re.MULTILINE)
            if match is None and ended is not None:
                raise AssertionError(f"{self.name} ended with {ended}:\n{self.output()}")
            return match

        return poll(matched, seconds, f"{self.name} prints /{pattern}/; so far:\n{self.output()}")

    def wait(self, seconds: float) -> int:
        """Its exit code."""
        return self.popen.wait(seconds)

    def stop(self, sign: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> int:
        """Ask it to end, then end what is left of its session. Returns its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(sign)
        try:
            return self.popen.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and its process group at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(5)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                # What was typed and not written yet has nobody to read it.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def run(
    argv: Sequence[str],
    folder: Path,
    *,
    seconds: float = 60.0,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    codes: tuple[int, ...] = (0,),
) -> bytes:
    """Run to the end within *seconds* and return standard output; another exit code fails with the error output."""
    with Child(argv, folder, env=env, stdin=stdin, stdout=subprocess.PIPE) as child:
        out, _ = child.popen.communicate(timeout=seconds)
        code = child.popen.returncode
        assert code in codes, f"{argv} ended with {code}:\n{child.output()}\n{out[-2000:]!r}"
        return out


def leftovers() -> list[str]:
    """Living processes that carry this run's mark in their environment."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if MARK.encode() in (entry / "environ").read_bytes():
                found.append(f"{entry.name} {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """Fails the run when a process that a test started is still there at the end."""
    yield
    poll(lambda: not leftovers(), 5.0, f"end of every process the tests started: {leftovers()}")
