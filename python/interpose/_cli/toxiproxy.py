"""toxiproxy's HTTP API beside the listeners of the command, or alone."""

from __future__ import annotations

from .._addresses import address_text
from .._exceptions import ConfigError
from .._server import TheServer
from .._service_names import numbered
from ..toxiproxy import ToxiproxyApi, serve


class ApiListener:
    """The API of `--toxiproxy-api`: `address` is the option's value, `seed` that of `--seed`."""

    def __init__(self, address: str, seed: int | None) -> None:
        host, _, port = numbered(address).rpartition(":")
        if not port.isdecimal():
            raise ConfigError(f"--toxiproxy-api: {address!r} is no [HOST:]PORT; give a port such as 8474")
        self._host, self._port, self._seed = host.strip("[]"), int(port), seed
        self._api: ToxiproxyApi | None = None

    def bind(self) -> None:
        """Listen, and serve: there are no proxies before a client asks for one. Raises BindError and ResolveError."""
        self._api = serve(self._host, self._port, seed=self._seed)

    @property
    def line(self) -> str:
        """The line that says where it listens."""
        return f"listening on {address_text(self._bound.address)}, with toxiproxy's API"

    def servers(self) -> list[TheServer]:
        """Return the servers that clients have asked for."""
        return [] if self._api is None else list(self._api.servers.values())

    @property
    def is_over(self) -> bool:
        """True once it answers no more."""
        return not self._bound._thread.is_alive()  # pyright: ignore[reportPrivateUsage]

    def wait(self) -> None:
        """Return when it answers no more."""
        self._bound._thread.join()  # pyright: ignore[reportPrivateUsage]

    def begin_stop(self, drain: float) -> None:
        """Answer no more, and begin to stop all servers."""
        self._bound.begin_stop(drain)

    def finish(self, drain: float) -> None:
        """Stop what is left, and return when all is closed."""
        self._bound.stop(drain)

    @property
    def _bound(self) -> ToxiproxyApi:
        assert self._api is not None, "bind() comes first"
        return self._api
