"""Addresses, and the target that clients are forwarded to."""

from __future__ import annotations

from typing import TypeAlias, cast

from . import _native
from ._config import host_text, port_number, seconds
from ._exceptions import ConfigError, printable, wrong_type

SocketName: TypeAlias = tuple[str, int] | str
"""`(host, port)`, or `"unix:/path"`. The host of an IPv6 address has no brackets."""


def address_text(name: SocketName) -> str:
    """Write a socket's name as a person would, and inert on a terminal.

    >>> address_text(("::1", 9090))
    '[::1]:9090'
    """
    if isinstance(name, str):
        return printable(name)
    host, port = name
    return printable(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


class Forward:
    """Where to connect, and how.

    * `host`: a name or an IP address. Without a `port` it is a whole address: `"host:25"`, `"[::1]:25"`,
      `"unix:/path"`. A name is looked up for each connection.
    * `port`: 1 to 65535.
    * `connect_timeout`: seconds that name lookup and connecting may take together.
    * `source`: the local IP address to connect from; None lets the kernel choose.

    It cannot be changed, and compares by value. Raises ArgumentTypeError, AddressError and ConfigError.

    >>> from interpose import Forward
    >>> Forward("smtp.example.com", 25, connect_timeout=3).address
    ('smtp.example.com', 25)
    >>> Forward("smtp.example.com:25") == Forward("smtp.example.com", 25)
    True
    """

    __slots__ = ("_native",)

    def __init__(
        self, host: str, port: int | None = None, *, connect_timeout: float = 10.0, source: str | None = None
    ) -> None:
        host = host_text("host", host)
        limit = seconds("connect_timeout", connect_timeout)
        if source is not None:
            source = host_text("source", source)
        if port is not None:
            port = port_number(port)
            if host.startswith("unix:"):
                raise ConfigError("port: a Unix socket has none; leave it out")
            if port == 0:
                raise ConfigError("port: 0 is not a port to connect to; give the one the upstream listens on")
        self._native = _native.Forward(host, port, connect_timeout=limit, source=source)

    @property
    def address(self) -> SocketName:
        """`(host, port)` or `"unix:/path"`, as it was asked for: a name stays a name."""
        return self._native.address

    @property
    def connect_timeout(self) -> float:
        """Seconds that name lookup and connecting may take together."""
        return self._native.connect_timeout

    @property
    def source(self) -> str | None:
        """The local IP address to connect from, or None."""
        return self._native.source

    def __repr__(self) -> str:
        source = "" if self.source is None else f", source={self.source!r}"
        return f"Forward({address_text(self.address)!r}, connect_timeout={self.connect_timeout:g}{source})"

    def __eq__(self, other: object) -> bool:
        return self._native == other._native if isinstance(other, Forward) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._native)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.address, self.connect_timeout, self.source)


def _rebuild(address: SocketName, connect_timeout: float, source: str | None) -> Forward:
    host, port = (address, None) if isinstance(address, str) else address
    return Forward(host, port, connect_timeout=connect_timeout, source=source)


ForwardTo: TypeAlias = tuple[str, int] | str | Forward
"""What a server's `forward_to` may be."""


def forward_of(value: object) -> Forward:
    """Return the Forward that `value` means, or raise what Forward raises."""
    if isinstance(value, Forward):
        return value
    if isinstance(value, str):
        return Forward(value)
    advice = 'write ("host", 80), "host:80", "unix:/path" or a Forward'
    if not isinstance(value, tuple):
        raise wrong_type("forward_to", value, "an address", advice)
    items = cast("tuple[object, ...]", value)
    if len(items) != 2:
        raise ConfigError(f"forward_to: the tuple has {len(items)} items, not 2; {advice}")
    return Forward(host_text("forward_to", items[0]), port_number(items[1]))


def native_forward(forward: Forward) -> _native.Forward:
    """Return the native side's twin of `forward`."""
    address = forward.address
    host, port = (address, None) if isinstance(address, str) else address
    return _native.Forward(host, port, connect_timeout=forward.connect_timeout, source=forward.source)
