"""The faults of a proxy."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._proxy_hooks import ProxyHooks

if TYPE_CHECKING:
    from .._fault import Fault
    from ._transcript import Transcript


class ProxyFaults(ProxyHooks):
    """The base of a proxy: what harms its connections on purpose, as TheServer has it."""

    transcript: Transcript

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force, in their order."""
        return self.server.faults

    @property
    def seed(self) -> int:
        """The seed of what faults draw. In tests of pytest it follows from that of the run and from the test's name."""
        return self.server.seed

    def add(self, *faults: Fault) -> None:
        """Put faults in force, for live connections as well. Raises what TheServer.add_fault() raises."""
        self.server.add_fault(*faults)
        self.transcript.note(f"{_named(faults)} added")

    def remove(self, *faults: Fault) -> None:
        """Take faults away. Raises what TheServer.remove_fault() raises."""
        self.server.remove_fault(*faults)
        self.transcript.note(f"{_named(faults)} removed")

    @contextmanager
    def fault(self, *faults: Fault) -> Generator[Fault]:
        """Put faults in force for a `with` block; `as` gives the first. Raises what TheServer.fault() raises.

        >>> import socket
        >>> from interpose import faults
        >>> from interpose.testing import Proxy
        >>> with Proxy("127.0.0.1:7070") as proxy, proxy.fault(faults.Cut(after_bytes=3)) as cut:
        ...     with socket.create_connection(proxy.address) as client:
        ...         client.sendall(b"hello")
        ...         print(client.makefile("rb").read(), cut.strikes)
        b'hel' 1
        """
        with self.server.fault(*faults) as first:
            self.transcript.note(f"{_named(faults)} added")
            try:
                yield first
            finally:
                self.transcript.note(f"{_named(faults)} removed")


def _named(faults: Iterable[Fault]) -> str:
    return ", ".join(repr(fault).removeprefix("faults.") for fault in faults)
