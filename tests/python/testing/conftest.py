"""What the tests of proxies for tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from interpose.testing import Proxy
from support.peers import Echo


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
