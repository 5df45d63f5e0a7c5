"""Scripts that leave while callbacks run, many times: a child that has loaded everything forks before each time."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

from .rounds import rounds
from .scripts import python

TIMES = rounds(6)

# The parent only forks and counts; what follows in the script runs in each child, which leaves as a script does.
_BEGIN = """
    import atexit, json, os, signal, struct, sys, threading, time
    from support.deadline import poll
    from interpose import Forward, Side, TheServer
    from interpose import _callback_log, _native, _tutorial
    from support.peers import Echo, connect, echo
    times, at_once = map(int, sys.argv[1:])
    began, outcomes, told = {}, [], None
    for number in range(times):
        asked, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(asked)
            break
        os.close(told)
        began[pid] = asked
        while len(began) >= at_once or (began and number == times - 1):
            pid, status = os.wait()
            now, asked = time.monotonic(), began.pop(pid)
            words = os.read(asked, 8)
            taken = now - struct.unpack("d", words)[0] if words else 0.0
            os.close(asked)
            outcomes.append([os.waitstatus_to_exitcode(status), taken])
    else:
        print(json.dumps(outcomes), flush=True)
        os._exit(0)
    for asked in began.values():
        os.close(asked)
    def about_to_exit():
        # Every process has the same clock.
        os.write(told, struct.pack("d", time.monotonic()))
"""


@dataclass(frozen=True)
class Exits:
    """How each child ended: their exit codes, the seconds that the slowest took to leave, and what all of them said."""

    codes: list[int]
    slowest: float
    said: str


def exit_many_times(folder: Path, text: str, times: int = TIMES, at_once: int = 1) -> Exits:
    """Run `text` that many times. It has to call `about_to_exit()` when it is about to leave."""
    script = textwrap.dedent(_BEGIN) + textwrap.dedent(text)
    ended = python(folder, script, str(times), str(at_once), seconds=100.0)
    assert ended.code == 0, ended
    outcomes = json.loads(ended.out.splitlines()[-1])
    assert len(outcomes) == times
    for word in ("Fatal", "panicked", "Segmentation"):
        assert word not in ended.err, ended
    # On a busy machine any callback may take long, and that is told of.
    said = "".join(line for line in ended.err.splitlines(keepends=True) if " ms, and the other connections" not in line)
    return Exits([code for code, _ in outcomes], max(taken for _, taken in outcomes), said)
