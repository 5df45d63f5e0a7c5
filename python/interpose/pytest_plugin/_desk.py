"""The proxies of a run of pytest, and what becomes of them with each test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .._exceptions import ArgumentTypeError, ConfigError, printable
from .._fault_names import FAULTS
from .._faulting import faults_or_none
from .._names import nearest
from ..replay import ReplayFactory
from ..testing import Proxy, ProxyFactory
from ._seed import seed_of

if TYPE_CHECKING:
    from .._fault import Fault

# A name of a file; what stands for a test in it is not longer.
_MOST_NAME = 100
_SHARED = frozenset({"tcp_proxy_module", "tcp_proxy_session"})


class Desk:
    """Keeps the factories whose fixtures are set up, checks their proxies and reports on them."""

    def __init__(self, config: pytest.Config, folders: pytest.TempPathFactory, seed: int) -> None:
        self._seed = seed
        self._when = str(config.getoption("--tcp-trace"))
        self._folder: Any = config.getoption("--tcp-trace-dir")
        self._folders = folders
        self._factories: list[tuple[ProxyFactory, bool]] = []
        self._replays: list[ReplayFactory] = []
        # The test whose body runs.
        self._running: pytest.Item | None = None

    @contextmanager
    def factory(self, node: pytest.Item, *, is_shared: bool) -> Generator[ProxyFactory]:
        """Give a factory for a node, and close it afterwards. One that is shared has proxies for several tests."""

        def seed(number: int) -> int:
            return seed_of(self._seed, node.nodeid, number)

        factory = ProxyFactory(is_shared=is_shared, faults=list if is_shared else lambda: _marked(node), seed=seed)
        if is_shared:
            factory.on_made = self._mark
        entry = (factory, is_shared)
        self._factories.append(entry)
        try:
            yield factory
        finally:
            self._factories.remove(entry)
            factory.close()
        # What has come too late for the test itself.
        for proxy in factory.proxies:
            proxy.server._raise_ended(None)  # pyright: ignore[reportPrivateUsage]

    @contextmanager
    def replays(self) -> Generator[ReplayFactory]:
        """Give a factory of replays for a test, and close it afterwards."""
        factory = ReplayFactory()
        self._replays.append(factory)
        try:
            yield factory
        finally:
            self._replays.remove(factory)
            factory.close()
        factory.check_deferred()

    def check(self, *, has_failed: bool) -> None:
        """Raise what callbacks have raised, and what was not as expected; of several proxies a group."""
        __tracebackhide__ = True
        raised: list[BaseException] = []
        for replays in self._replays:
            try:
                replays.check(has_failed=has_failed)
            except AssertionError as error:
                raised.append(error)
        for factory, _ in self._factories:
            for proxy in factory.proxies:
                try:
                    proxy.check(expects=not has_failed)
                except BaseException as error:  # noqa: BLE001 (a callback may call pytest.fail)
                    raised.append(error)
        if len(raised) > 1:
            raise BaseExceptionGroup("several proxies have failed", raised)
        if raised:
            raise raised[0]

    def report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Add diagrams to the report of a phase that has failed, and write the files that are wanted."""
        if report.when == "teardown":
            return
        # A shared proxy that nothing has passed is most likely another test's.
        proxies = [
            proxy
            for factory, is_shared in self._factories
            for proxy in factory.proxies
            if not is_shared or proxy.transcript
        ]
        is_wanted = self._when == "always" and report.when == "call"
        for number, proxy in enumerate(proxies, 1):
            writes = proxy.transcript and (is_wanted or (report.failed and self._when == "fail"))
            written = self._written(item, number, proxy) if writes else []
            if report.failed:
                lines = [str(proxy.transcript), *written]
                if (
                    not proxy.serves_several and any(event.kind == "fault" for event in proxy.transcript)
                ) or proxy.faults:
                    lines.append(f"faults draw the same again with --interpose-seed={self._seed}")
                text = "\n".join(lines)
                report.sections.append((f"TCP through {proxy!r}", text))

    def begin(self, item: pytest.Item) -> None:
        """Put the faults that marks of a test name in force on the shared proxies, if the test has these."""
        if not _SHARED.isdisjoint(getattr(item, "fixturenames", ())):
            self._running = item
            _marked(item)
            for factory, is_shared in self._factories:
                for proxy in factory.proxies if is_shared else ():
                    self._mark(proxy)

    def _mark(self, proxy: Proxy) -> None:
        """Put the faults that marks of the running test name in force on a shared proxy, until it is reset."""
        if self._running is not None and (faults := _marked(self._running)):
            proxy.add(*faults)

    def reset(self) -> None:
        """Have the shared proxies begin anew."""
        self._running = None
        for factory, is_shared in self._factories:
            for proxy in factory.proxies if is_shared else ():
                proxy.reset()

    def _written(self, item: pytest.Item, number: int, proxy: Proxy) -> list[str]:
        """Write what has passed. Return lines about the paths, or about what went wrong: no test fails for that."""
        name = _file_name(item.nodeid)
        folder = self._folders.getbasetemp() / "tcp-trace" if self._folder is None else Path(self._folder)
        paths = [folder / f"{name}-{number}.{ending}" for ending in ("pcapng", "svg")]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            proxy.transcript.write_capture(paths[0])
            proxy.transcript.write_svg(paths[1])
        except (OSError, ConfigError) as error:
            return [f"not written: {error}"]
        return [f"written: {path}" for path in paths]


def _file_name(test: str) -> str:
    """Return a name for files of a test that no other test has, in other processes neither."""
    folder, _, last = test.rpartition("/")
    plain = test.replace("::", "-").replace("/", "-")
    name = re.sub(r"[^\w.-]+", "-", plain, flags=re.ASCII).strip("-")[-_MOST_NAME:]
    if name != plain or "-" in folder or "-" in last.partition("::")[0]:
        # Other tests may have a name that reads alike.
        name = f"{name}-{hashlib.sha256(test.encode()).hexdigest()[:6]}"
    return name


def _marked(node: pytest.Item) -> list[Fault]:
    """Return the faults that marks of a test name, those of its module first: others than in the test before."""
    found: list[Fault] = []
    for mark in reversed(list(node.iter_markers("tcp_fault"))):
        advice = "give the faults themselves: tcp_fault(faults.Latency(0.2))"
        for name in mark.kwargs:
            raise ConfigError(f"tcp_fault: there is no {printable(name)}; {advice}")
        for one in mark.args:
            _check_mark(one)
        try:
            found.extend(faults_or_none(list(mark.args)))
        except (ArgumentTypeError, ConfigError) as error:
            raise type(error)(f"tcp_fault{str(error).removeprefix('faults')}") from None
    return [fault.again() for fault in found]


def _check_mark(given: object) -> None:
    """Raise ArgumentTypeError for what is no fault."""
    from .. import faults

    kind = type(given).__name__
    if isinstance(given, faults.Fault) or (isinstance(given, type) and issubclass(given, faults.Fault)):
        return
    sample = "*[...]" if isinstance(given, (list, tuple)) else "faults.Latency(0.2)"
    if isinstance(given, str):
        near = nearest(given.partition(" ")[0], faults._KINDS, FAULTS)  # pyright: ignore[reportPrivateUsage]
        sample = f"faults.{near}(...)" if near else sample
    raise ArgumentTypeError(f"tcp_fault: it is {kind}, not a fault; write tcp_fault({sample})")
