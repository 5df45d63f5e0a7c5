"""Proxies of a test, made one by one and left together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

from .._faulting import faults_or_none
from .._forward import ForwardTo
from ._keywords import ServerKeywords
from ._proxy import KEEP, Proxy, stop_all

if TYPE_CHECKING:
    from .._fault import Fault


class ProxyFactory:
    """Makes proxies that serve at once: the fixture `tcp_proxy` is one. close() stops them all.

    With `is_shared` they serve several tests. `faults` makes those that each has before its own, and `seed` its seed.

    >>> from interpose.testing import ProxyFactory
    >>> make = ProxyFactory()
    >>> proxy = make("127.0.0.1:7070")
    >>> make.proxies == [proxy]
    True
    >>> make.close()
    """

    def __init__(
        self,
        *,
        is_shared: bool = False,
        faults: Callable[[], Sequence[Fault]] = list,
        seed: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self._faults, self._seed = faults, seed
        self._is_shared = is_shared
        self.on_made: Callable[[Proxy], None] | None = None
        """Called with each proxy once it serves."""
        self.proxies: list[Proxy] = []
        """The proxies that were made, in order."""

    def __call__(
        self,
        forward_to: ForwardTo | None = None,
        *,
        host: str = "",
        port: int = 0,
        keep: int = KEEP,
        **settings: Unpack[ServerKeywords],
    ) -> Proxy:
        """Return a new proxy, which serves already. The arguments are those of Proxy."""
        if before := self._faults():
            settings["faults"] = [*before, *faults_or_none(settings.get("faults"))]
        if settings.get("seed") is None:
            settings["seed"] = self._seed(len(self.proxies))
        proxy = Proxy(forward_to, host=host, port=port, keep=keep, **settings)
        self.proxies.append(proxy)
        # The loop of one test is gone in the next.
        proxy._takes_loop = not self._is_shared  # pyright: ignore[reportPrivateUsage]
        proxy.serves_several = self._is_shared
        proxy.start()
        if self.on_made is not None:
            self.on_made(proxy)
        return proxy

    def close(self) -> None:
        """Stop all proxies, within 20 ms."""
        stop_all(self.proxies)
