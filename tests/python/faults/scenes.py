"""One error of one call: where it is met, what becomes of it, and what is wrong with that."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.deadline import poll
from support.peers import connect, read_exactly, reset

from .calls import FAILS, GOES_ON, REFUSED, RETRIED, Row
from .subject import Attempt, Seen, Subject, Upstream, echoes
from .supervisor import Injection

SIZES = {"stream": 12 << 20, "one way": 1 << 30, "pieces": 1 << 19}
SMALL = 1000
NOT_MADE = "the call was not made"
# Interrupted calls are made again at once, for a signal comes only so often; the other errors are there to stay.
INTERRUPTIONS, ALL = 50, 1 << 62
# How long a call that fails may hold up a connection before that counts as waiting; how long a quiet look lasts.
PATIENCE, QUIET = 0.4, 0.25


@dataclass
class Outcome:
    """The effect of one injected error."""

    row: Row
    error: str
    kind: str = ""
    reason: str = ""
    calls: int = 0
    cpu: float = 0.0
    lines: int = 0
    problems: list[str] = field(default_factory=list[str])


class Scene:
    """A subject, and one row of the table after another error."""

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        self.subject = Subject(folder, (row.number,))
        self.address: tuple[str, int] | None = None
        self.old: socket.socket | None = None
        if row.scene != "first start":
            self.serve()

    def serve(self) -> None:
        """Have a server, and a connection on it."""
        specs: dict[str, dict[str, object]] = {
            "source": {"source": "127.0.0.1"},
            "move": {"hooked": True},
            "pieces": {"pieces": True},
            "unix": {"unix": str(self.subject.folder / "second")},
            "wildcard": {"forward": ("0.0.0.0", self.subject.upstream.address[1])},
        }
        spec = specs.get(self.row.scene, {})
        address = self.subject.start(**spec)
        assert not isinstance(address, str), address
        self.address = address
        self.old = connect(address)
        assert echoes(self.old)
        self.olds_upstream = len(self.subject.upstream.seen) - 1

    def play(self, error: str) -> Outcome:
        """Meet the error, look, and go on without it."""
        outcome = Outcome(self.row, error)
        lines, begin = self.subject.lines(), time.monotonic()
        most = INTERRUPTIONS if error in ("EINTR", "EAGAIN") else ALL
        injection = Injection(self.row.number, getattr(errno, error), self.row.matches, most)
        try:
            acts = {"first start": self._start, "start": self._start, "move": self._move, "abort": self._abort}
            acts |= {"refused": self._refused, "name": self._name, "one way": self._one_way}
            acts.get(self.row.scene, self._serve)(injection, outcome)
            outcome.calls, outcome.lines = injection.count, self.subject.lines() - lines
            self._judge(outcome, time.monotonic() - begin)
        except (AssertionError, OSError) as broken:
            outcome.problems.append(str(broken).splitlines()[0])
        finally:
            self.subject.supervisor.end()
        if not self.subject.is_alive():
            outcome.problems.append("the process died")
        return outcome

    def close(self) -> None:
        """End everything."""
        if self.old is not None:
            self.old.close()
        self.subject.close()

    def _judge(self, outcome: Outcome, seconds: float) -> None:
        problems = outcome.problems
        if outcome.calls == 0:
            problems.append(NOT_MADE)
        if outcome.kind not in self.row.allowed:
            problems.append(f"not one of {self.row.allowed}")
        if outcome.kind == FAILS and outcome.reason == "finished":
            problems.append("a failure that counts as finished")
        if outcome.lines > 3 + seconds:
            problems.append(f"{outcome.lines} log lines")
        if self.old is not None and not echoes(self.old):
            problems.append("the older connection was touched")
        if self.address is not None:
            with connect(self.address) as fresh:
                if not echoes(fresh):
                    problems.append("a new connection is not served afterwards")
            poll(lambda: self.subject.ask("stats")["active"] <= 1, 5, "the new connection is over")

    def _quiet(self, injection: Injection, outcome: Outcome) -> None:
        """Look whether nothing turns in circles while the error is still there."""
        calls, cpu, begin = injection.count, self.subject.cpu(), time.monotonic()
        time.sleep(QUIET)  # the length of the measurement
        seconds = time.monotonic() - begin
        outcome.cpu = (self.subject.cpu() - cpu) / seconds
        if outcome.cpu > 0.25 or (injection.count - calls) / seconds > 200:
            outcome.problems.append(f"a spin: {outcome.cpu:.0%} of a core, {injection.count - calls} calls")

    def _start(self, injection: Injection, outcome: Outcome) -> None:
        self.subject.supervisor.begin(injection)
        started = self.subject.start()
        if isinstance(started, str):
            outcome.kind, outcome.reason = REFUSED, started
            self._quiet(injection, outcome)
            self.subject.supervisor.end()
            if isinstance(self.subject.start(), str):
                outcome.problems.append("no server can be started afterwards")
            return
        self._client(started, injection, outcome)

    def _serve(self, injection: Injection, outcome: Outcome) -> None:
        assert self.address is not None
        self.subject.supervisor.begin(injection)
        if self.row.scene == "clock":
            poll(lambda: injection.count > 0, 12, "the clock ticks")
        self._client(self.address, injection, outcome)

    def _client(self, address: tuple[str, int], injection: Injection, outcome: Outcome) -> None:
        """Connect a client while the error is there, and find out what becomes of it."""
        before, upstreams = self._closed(), len(self.subject.upstream.seen)
        size = SIZES.get(self.row.scene, SMALL)
        attempt = Attempt(address, size, 1 if self.row.scene == "one way" else size)
        try:
            end = attempt.wait(10.0 if self.row.scene in SIZES else PATIENCE)
            self._quiet(injection, outcome)
            self.subject.supervisor.end()
            if end == "waits":
                end = {"whole": RETRIED, "reset": FAILS}.get(attempt.wait(5.0), attempt.end or "stuck")
            outcome.kind = {"whole": GOES_ON, "reset": FAILS}.get(end, end)
        finally:
            attempt.close()
        if outcome.kind == FAILS:
            self._check_failure(outcome, before, self.subject.upstream.seen[upstreams:], attempt.size)

    def _check_failure(self, outcome: Outcome, before: dict[str, int], upstreams: list[Seen], size: int) -> None:
        poll(lambda: self._closed() != before, 5, "the connection is over")
        after = self._closed()
        outcome.reason = ", ".join(word for word in after if after[word] != before.get(word))
        poll(lambda: all(seen.end for seen in upstreams), 5, "the upstream is told")
        if any(seen.end == "eof" and seen.got < size for seen in upstreams):
            outcome.problems.append("a FIN for the upstream after a failure")

    def _refused(self, injection: Injection, outcome: Outcome) -> None:
        """Meet the error while the upstream refuses. A server of its own, which has no older connection."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = self.subject.start(forward=closed.getsockname())
            assert not isinstance(address, str), address
            self.subject.supervisor.begin(injection)
            self._client(address, injection, outcome)

    def _name(self, injection: Injection, outcome: Outcome) -> None:
        """Meet the error while a name is looked up that was not looked up before."""
        name = "".join(
            letter.upper() if injection.error >> bit & 1 else letter for bit, letter in enumerate("localhost")
        )
        address = self.subject.start(forward=(name, self.subject.upstream.address[1]))
        assert not isinstance(address, str), address
        self.subject.supervisor.begin(injection)
        self._client(address, injection, outcome)

    def _one_way(self, injection: Injection, outcome: Outcome) -> None:
        """Meet the error in a stream that nothing answers, so that it may be left to gather."""
        upstream = Upstream(echoes=False)
        try:
            address = self.subject.start(forward=upstream.address)
            assert not isinstance(address, str), address
            self.subject.supervisor.begin(injection)
            self._client(address, injection, outcome)
        finally:
            upstream.close()

    def _move(self, injection: Injection, outcome: Outcome) -> None:
        """Meet the error on the way to another thread. The older connection is the one that moves."""
        assert self.old is not None
        before = self._closed()
        upstreams = [self.subject.upstream.seen[self.olds_upstream]]
        self.subject.supervisor.begin(injection)
        self.subject.ask("look")
        try:
            end = "answered" if self.old.recv(1) else "short"
        except ConnectionError:
            end = "reset"
        except TimeoutError:
            end = "waits"
        self._quiet(injection, outcome)
        self.subject.supervisor.end()
        outcome.kind = FAILS if end == "reset" else end
        if end == "reset":
            self._check_failure(outcome, before, upstreams, 1 << 30)
        self.old.close()
        self.old = None
        self.serve()

    def _abort(self, injection: Injection, outcome: Outcome) -> None:
        """Meet the error while a reset is passed on."""
        assert self.address is not None
        before, count = self._closed(), len(self.subject.upstream.seen)
        client = connect(self.address)
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
        upstreams = self.subject.upstream.seen[count:]
        self.subject.supervisor.begin(injection)
        reset(client)
        self._check_failure(outcome, before, upstreams, 1 << 30)
        if outcome.reason == "client_reset":
            # As it would have been without the error.
            outcome.kind, outcome.reason = GOES_ON, ""
        self._quiet(injection, outcome)
        self.subject.supervisor.end()

    def _closed(self) -> dict[str, int]:
        if self.address is None:
            return {}
        closed: dict[str, int] = self.subject.ask("stats")["closed"]
        return closed
