"""Callbacks that only look, and whose own output is gone: the traffic goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import Child
from support.scripts import python_argv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")

# Standard output is a pipe that nobody reads, or a full disk.
SCRIPT = """
    import os, sys
    from interpose import Callbacks, TheServer
    from support.peers import Echo, connect, ending
    from support.exchanges import exchange
    def show(*seen):
        print(seen, flush=True)
    def write(*seen):
        stream = sys.stderr if STREAM == "stderr" else sys.stdout
        stream.write(repr(seen))
        stream.flush()
    def leaves(*seen):
        print("x" * 100_000)
    class Subclass(TheServer):
        def on_recv(self, side, data):
            print(side, data, flush=True)
    CALLBACKS = {"show": show, "write": write, "leaves": leaves, "lambda": lambda *seen: print(seen, flush=True)}
    HOOKS, CALLBACK, STREAM = sys.argv[1].split(","), sys.argv[2], sys.argv[3]
    with Echo() as upstream:
        kind = Subclass if CALLBACK == "subclass" else TheServer
        hooks = {} if CALLBACK == "subclass" else {name: CALLBACKS[CALLBACK] for name in HOOKS}
        with kind("", 0, upstream.address, callbacks=Callbacks(errors=sys.argv[4]), **hooks) as server:
            seen = [exchange(server, b"abc") for _ in range(5)]
        stats = server.stats
        with open("seen", "w") as file:
            print(seen == [("eof", b"abc")] * 5, stats.callback_errors > 0, file=file)
"""
EVERY = "on_accept,on_connect,on_recv,on_eof,on_close"


def run_with(output: int, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the script with standard output there; return its exit code and what the clients have seen."""
    if arguments[2] == "stderr":
        argv = python_argv(SCRIPT, *arguments)
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=output, cwd=folder, timeout=30, check=False)
        return done.returncode, (folder / "seen").read_text()
    with Child(python_argv(SCRIPT, *arguments), folder, stdout=output) as child:
        code = child.wait(30.0)
        return code, (folder / "seen").read_text()


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


CASES = [
    (EVERY, "show", "stdout", "close"),
    ("on_recv", "lambda", "stdout", "close"),
    ("on_client_recv", "write", "stdout", "close"),
    ("on_upstream_recv", "leaves", "stdout", "raise"),
    ("on_recv", "subclass", "stdout", "close"),
    (EVERY, "write", "stderr", "close"),
]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_pipe_that_nobody_reads(case: tuple[str, ...], tmp_path: Path) -> None:
    output = closed_pipe()
    try:
        # The exit too is without a complaint: what is left to be written goes nowhere.
        assert run_with(output, tmp_path, *case) == (0, "True True\n")
    finally:
        os.close(output)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full")
@pytest.mark.parametrize("case", CASES[:3], ids=" ".join)
def test_a_full_disk(case: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as output:
        code, seen = run_with(output.fileno(), tmp_path, *case)
    assert seen == "True True\n"
    # Python exits with 120 if its own last flush fails.
    assert code in (0, 120)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # It has answered before, so to go on without its answer would let something through.
        ("print(data, flush=True); return data.upper()", "True ABC"),
        # A socket of its own: an upstream of its making, a gatekeeper.
        ("raise BrokenPipeError(32, 'of a socket')", "reset"),
        ("raise OSError(5555, 'of another kind')", "reset"),
    ],
)
def test_what_is_no_output_of_a_looking_callback_ends_its_connection(body: str, expected: str, tmp_path: Path) -> None:
    text = f"""
        import os, sys
        from interpose import TheServer
        from support.peers import Echo
        from support.exchanges import exchange
        calls = []
        def on_client_recv(side, data):
            calls.append(data)
            if len(calls) == 1 and {expected != "reset"}:
                return data.upper()
            {body}
        with Echo() as upstream, TheServer("", 0, upstream.address, on_client_recv=on_client_recv) as server:
            first, *others = [exchange(server, b"abc") for _ in range(3)]
        with open("seen", "w") as file:
            if {expected != "reset"}:
                print(first == ("eof", b"ABC"), [how for how, _ in others], file=file)
            else:
                print(first, file=file)
    """
    output = closed_pipe() if expected != "reset" else os.open(os.devnull, os.O_WRONLY)
    try:
        with Child(python_argv(text), tmp_path, stdout=output) as child:
            child.wait(30.0)
    finally:
        os.close(output)
    seen = (tmp_path / "seen").read_text()
    # The first failure is an error of the callback's, and never a chunk that goes on unchanged.
    assert seen.startswith("('reset'" if expected == "reset" else "True ['reset'")
