"""Fixtures of the hostile networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.namespaces import Network, network, require_root
from support.peers import Echo
from support.proxies import ProxyProcess

Start = Callable[..., ProxyProcess]


@pytest.fixture
def net() -> Iterator[Network]:
    """Two machines and a wire; nft and ss are there."""
    require_root("nft", "ss")
    with network() as made:
        yield made


@pytest.fixture
def echo_upstream() -> Iterator[Echo]:
    """An echoing upstream on loopback."""
    with Echo() as upstream:
        yield upstream


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts scripted proxies: `start({"forward": [host, port], …}, prefix=…, plan=…)`."""
    with ExitStack() as stack:

        def begin(*servers: Mapping[str, Any], **keywords: Any) -> ProxyProcess:
            return stack.enter_context(ProxyProcess(tmp_path, servers, **keywords))

        yield begin
