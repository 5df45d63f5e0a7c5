"""An API on a free port, its client, and an upstream that echoes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from interpose import toxiproxy
from interpose.toxiproxy import ToxiproxyApi
from support.peers import Echo
from support.toxiproxy_client import Client


@pytest.fixture
def api() -> Iterator[ToxiproxyApi]:
    """Serve the API for one test."""
    with toxiproxy.serve(port=0, seed=7) as served:
        yield served


@pytest.fixture
def client(api: ToxiproxyApi) -> Client:
    """Return a client of it."""
    return Client(api)


@pytest.fixture
def upstream() -> Iterator[Echo]:
    """Serve an upstream that sends back what it gets."""
    with Echo() as echo:
        yield echo
