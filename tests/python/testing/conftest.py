"""What the tests of proxies for tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from interpose.testing import Proxy
from support.peers import Echo
from support.pytest_runs import APART, BEGIN, Run


@pytest.fixture
def make() -> Iterator[Callable[..., Proxy]]:
    """Make started proxies that stop with the test; what their callbacks raised is not raised again."""
    with ExitStack() as proxies:

        def started(*arguments: Any, **settings: Any) -> Proxy:
            proxy = Proxy(*arguments, **settings).start()
            proxies.callback(proxy.stop)
            return proxy

        yield started


@pytest.fixture
def proxy(make: Callable[..., Proxy], echo: Echo) -> Proxy:
    """A proxy before an upstream that echoes."""
    return make(echo.address)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, echo: Echo) -> Run:
    """Run tests of pytest before an upstream that echoes."""

    def run(tests: str, *options: str, apart: bool = False) -> pytest.RunResult:
        pytester.makepyfile(BEGIN.format(address=echo.address) + tests)
        pytester.makeini(
            "[pytest]\nasyncio_mode = auto\nfilterwarnings =\n    error\n    ignore:Unknown config option\n"
        )
        if apart:
            return pytester.runpytest_subprocess(*APART, *options, timeout=60)
        # Without the others that are installed, which take their time to be imported.
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "interpose.pytest_plugin", *options)

    return run
