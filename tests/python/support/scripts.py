"""Python scripts and the command as child processes that run to their end within a bound."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import proxies
from .processes import Child

IMPORTED_FROM = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a child ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float


def finish(argv: Sequence[str], folder: Path, seconds: float = 30.0, env: Mapping[str, str] | None = None) -> Ended:
    """Run to the end; a child that takes longer is killed and fails the test with what it said."""
    begin = time.monotonic()
    with Child(argv, folder, stdout=subprocess.PIPE, env=env) as child:
        try:
            out, _ = child.popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{argv} runs after {seconds:g} s:\n{child.output()}\n{late.output!r}") from None
        taken = time.monotonic() - begin
        return Ended(child.popen.returncode, out.decode(), child.output(), taken)


def python_argv(text: str, *arguments: str) -> list[str]:
    """How to run `text` beside which `support` can be imported; a crash leaves a traceback of every thread."""
    head = f"import sys; sys.path.insert(0, {str(IMPORTED_FROM)!r})\n"
    return [sys.executable, "-X", "faulthandler", "-c", head + textwrap.dedent(text), *arguments]


def python(folder: Path, text: str, *arguments: str, seconds: float = 30.0) -> Ended:
    """Run a script to its end."""
    return finish(python_argv(text, *arguments), folder, seconds)


def passes(folder: Path, text: str, *arguments: str, seconds: float = 30.0) -> str:
    """Run a script that must end with 0 and say nothing on stderr; return what it printed."""
    ended = python(folder, text, *arguments, seconds=seconds)
    assert (ended.code, ended.err) == (0, ""), ended
    return ended.out


def command(folder: Path, *arguments: str, seconds: float = 30.0) -> Ended:
    """Run `interpose` to its end."""
    return finish([*proxies.command(), *arguments], folder, seconds)
