"""A client that was written for toxiproxy drives the API unchanged: toxiproxy-python, with the cases of its own tests.

Nothing of it is imported by name, because type checkers need not have it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from interpose import toxiproxy as ours
from support.peers import Echo, connect, echo, free_port
from support.toxiproxy_client import address_of, is_up

pytest.importorskip("toxiproxy", reason="toxiproxy-python is not installed")


class Package:
    """The names of toxiproxy-python."""

    def __init__(self) -> None:
        self.client: Any = importlib.import_module("toxiproxy").Toxiproxy()
        errors: Any = importlib.import_module("toxiproxy.exceptions")
        self.exists, self.invalid, self.missing = errors.ProxyExists, errors.InvalidToxic, errors.NotFound


@pytest.fixture
def package() -> Iterator[Package]:
    """Serve the API, and point the package's only client to it."""
    found = Package()
    with ours.serve(port=0) as api:
        found.client.update_api_consumer(*api.address)
        yield found


def proxy_of(package: Package, upstream: Echo, **more: object) -> Any:
    return package.client.create(upstream=f"localhost:{upstream.address[1]}", name="redis", **more)


def test_proxies_are_created_found_and_destroyed(package: Package, upstream: Echo) -> None:
    client = package.client
    assert client.running() is True
    assert b"version" in client.version()
    assert client.get_proxy("redis") is None
    proxy = proxy_of(package, upstream, listen=f"127.0.0.1:{free_port()}", enabled=False)
    assert (proxy.name, proxy.enabled) == ("redis", False)
    assert client.get_proxy("redis").upstream == f"localhost:{upstream.address[1]}"
    with pytest.raises(package.exists):
        proxy_of(package, upstream)
    proxy.enable()
    assert is_up(address_of(proxy.listen))
    assert client.destroy(proxy) is True
    assert client.proxies() == {}
    with pytest.raises(package.missing):
        proxy.destroy()


def test_a_proxy_is_down_for_a_block(package: Package, upstream: Echo) -> None:
    proxy = proxy_of(package, upstream)
    address = address_of(proxy.listen)
    proxy.add_toxic(type="latency", attributes={"latency": 12})
    with proxy.down():
        assert not is_up(address)
    assert is_up(address)
    assert proxy.get_toxic("latency_downstream").attributes == {"latency": 12, "jitter": 0}


def test_toxics_come_go_and_are_reset(package: Package, upstream: Echo) -> None:
    proxy = proxy_of(package, upstream)
    for name, stream in (("one", "downstream"), ("two", "downstream"), ("three", "upstream")):
        proxy.add_toxic(type="latency", name=name, stream=stream, attributes={"latency": 50})
    with connect(address_of(proxy.listen)) as sock:
        begin = time.monotonic()
        assert echo(sock, b"omg\n") == b"omg\n"
        assert time.monotonic() - begin >= 0.15
    assert proxy.destroy_toxic("one") is True
    assert sorted(proxy.toxics()) == ["three", "two"]
    proxy.disable()
    package.client.reset()
    assert proxy.toxics() == {}
    assert is_up(address_of(proxy.listen))
    with pytest.raises(package.invalid):
        proxy.add_toxic(type="latency", stream="lolstream")
    with pytest.raises(package.invalid):
        proxy.add_toxic(type="latncy")


def test_populate_creates_and_moves(package: Package, upstream: Echo) -> None:
    target = f"localhost:{upstream.address[1]}"
    wanted: dict[str, str] = {}
    for _ in range(2):
        wanted = {"name": "one", "upstream": target, "listen": f"127.0.0.1:{free_port()}"}
        (proxy,) = package.client.populate([wanted])
        assert proxy.listen == wanted["listen"]
        assert is_up(address_of(proxy.listen))
    assert package.client.populate([wanted]) == []
