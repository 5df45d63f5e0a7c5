"""What the tests of the Python face share: an upstream, servers that end with their test, addresses that refuse."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from interpose import TheServer
from support.peers import Address, Echo, bound_address
from support.processes import no_process_left as no_process_left

# Runs of pytest within a test, for the plugin.
pytest_plugins = ["pytester"]


class Serve(Protocol):
    """Makes a started server that ends with the test."""

    def __call__(self, forward_to: Any, **settings: Any) -> TheServer: ...


@pytest.fixture
def echo() -> Iterator[Echo]:
    """An upstream that sends back what it gets."""
    with Echo() as upstream:
        yield upstream


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers on free ports of the loopback, and stop them at once at the end."""
    with ExitStack() as servers:

        def start(forward_to: Any, **settings: Any) -> TheServer:
            server = TheServer("", 0, forward_to, **settings).start()
            servers.callback(server.stop, 0.0)
            return server

        yield start


@pytest.fixture
def refusing() -> Iterator[Address]:
    """An address that refuses: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        # So that a test can let somebody listen there later.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        yield bound_address(taken)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs of pytest within a test, which print the same wherever they run."""
    # Where one of these is set, pytest does not shorten its last summary, and so says each answer once more.
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    return pytester
