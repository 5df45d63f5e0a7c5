"""The proxies of an API, by their names."""

from __future__ import annotations

from collections.abc import Iterator

from .._server import TheServer
from ._proxy import Proxy, Wanted, end_connections, wanted
from ._refusal import RefusedError, bad_body, no_such

MOST_PROXIES = 1000


class Proxies:
    """Some proxies. One thread calls the methods, and they raise RefusedError; any thread may ask for the servers."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._named: dict[str, Proxy] = {}

    def __iter__(self) -> Iterator[Proxy]:
        return iter([proxy for _, proxy in sorted(self._named.copy().items())])

    def servers(self) -> dict[str, TheServer]:
        """Return the servers of those that have listened, by name."""
        return {proxy.name: server for proxy in self if (server := proxy.server) is not None}

    def get(self, name: str) -> Proxy:
        """Return the proxy of this name."""
        if name not in self._named:
            raise no_such("proxy", name, self._named)
        return self._named[name]

    def create(self, value: object) -> Proxy:
        """Create the proxy that a body asks for."""
        asked = wanted(value)
        if asked.name in self._named:
            raise RefusedError(409, "proxy already exists")
        return self._add(asked)

    def populate(self, value: object, done: list[Proxy]) -> None:
        """Create or replace the proxies that a body asks for, and put each into `done`. The first slip ends it."""
        if not isinstance(value, list):
            raise bad_body('it is not an array; send [{"name": ..., "upstream": ...}]')
        several: list[object] = value  # pyright: ignore[reportUnknownVariableType]
        for asked in [wanted(one, number) for number, one in enumerate(several, 1)]:
            before = self._named.get(asked.name)
            if before is not None and before.is_same(asked.listen, asked.upstream):
                done.append(before)
                continue
            if before is not None:
                self.delete(asked.name)
            done.append(self._add(asked))

    def delete(self, name: str) -> None:
        """End a proxy."""
        self.get(name).end()
        del self._named[name]

    def reset(self) -> None:
        """Enable all proxies, and take all toxics away."""
        for proxy in self:
            proxy.reset()

    def end(self) -> None:
        """End all proxies. No request may be under way."""
        servers = list(self.servers().values())
        end_connections(servers, waits=True)
        for server in servers:
            server.stop(0.0)
        self._named.clear()

    def _add(self, asked: Wanted) -> Proxy:
        if len(self._named) >= MOST_PROXIES:
            raise bad_body(f"there are {MOST_PROXIES} proxies, which are all that there can be; delete one")
        proxy = Proxy(asked, self._seed)
        if asked.enabled:
            proxy.enable()
        self._named[asked.name] = proxy
        return proxy
