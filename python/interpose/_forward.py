"""The target that clients are forwarded to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast

from . import _native
from ._addresses import SocketName, address_text, host_port, host_text, port_number, port_text, unix_path
from ._checks import seconds
from ._exceptions import ConfigError, wrong_type
from ._names import FORWARD_ARGUMENTS, names_checked

if TYPE_CHECKING:
    from ._outgoing import Outgoing


class Forward:
    """Where to connect, and how.

    * `host`: a name or an IP address. Without a `port` it is a whole address: `"host:25"`, `"[::1]:25"`,
      `"unix:/path"`. A name is looked up for each connection.
    * `port`: 1 to 65535.
    * `connect_timeout`: seconds that name lookup and connecting may take together.
    * `source`: the local IP address to connect from; None lets the kernel choose.

    It cannot be changed, and compares by value. Raises ArgumentTypeError, AddressError and ConfigError.

    `Forward.NOWHERE` is for `on_accept` to return: the client gets no upstream, and callbacks answer it. Without
    a host it is only good for start().

    >>> from interpose import Forward
    >>> Forward("smtp.example.com", 25, connect_timeout=3).address
    ('smtp.example.com', 25)
    >>> Forward("smtp.example.com:25") == Forward("smtp.example.com", 25)
    True
    """

    __slots__ = ("_native", "_settings")

    NOWHERE: ClassVar[Forward]

    @names_checked(FORWARD_ARGUMENTS)
    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        connect_timeout: float = 10.0,
        source: str | None = None,
    ) -> None:
        limit = seconds("connect_timeout", connect_timeout)
        if source is not None:
            source = host_text("source", source)
        self._settings = (limit, source)
        self._native: _native.Forward | None = None
        if host is None:
            if port is not None:
                raise ConfigError('host: it is missing, and the port is not; give both, as in Forward("host", 80)')
            return
        host = host_text("host", host)
        if port is not None:
            port = port_number(port)
            if host.startswith("unix:"):
                raise ConfigError("port: a Unix socket has none; leave it out")
            if port == 0:
                raise ConfigError("port: 0 is not a port to connect to; give the one the upstream listens on")
        self._native = _native.Forward(host, port, connect_timeout=limit, source=source)

    @property
    def address(self) -> tuple[str, int]:
        """`(host, port)`, as it was asked for: a name stays a name. Where `unix_path` is not None, `"unix:/path"`.

        Raises ConfigError if it has no host.
        """
        return host_port(native_forward(self).address)

    @property
    def unix_path(self) -> str | None:
        """The path of a Unix socket, `"@name"` of one without a file; None for `(host, port)`. Raises as address."""
        return unix_path(native_forward(self).address)

    @property
    def connect_timeout(self) -> float:
        """Seconds that name lookup and connecting may take together."""
        return self._settings[0]

    @property
    def source(self) -> str | None:
        """The local IP address to connect from, or None."""
        return self._settings[1]

    def start(self, host: str | None = None, port: int | None = None) -> Outgoing | Literal[False]:
        """Connect now, and return the connected side, or False if that fails; the log says why.

        The tutorial's way: a method enters the side in `TheServer.input_list` and `channel`, and may `recv()` before.
        `host` and `port` take the place of this Forward's own. It blocks, so it is better to return a Forward from
        `on_accept`, which delays nobody. Raises what Forward raises.

        >>> from interpose import Forward
        >>> Forward().start("127.0.0.1", 1)
        False
        """
        from ._outgoing import connected

        timeout, source = self._settings
        target = self if host is None else Forward(host, port, connect_timeout=timeout, source=source)
        return connected(native_forward(target))

    def __repr__(self) -> str:
        if self._native is None:
            return "Forward.NOWHERE" if self is Forward.NOWHERE else "Forward()"
        source = "" if self.source is None else f", source={self.source!r}"
        return f"Forward({address_text(self.address)!r}, connect_timeout={self.connect_timeout:g}{source})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Forward):
            return NotImplemented
        if self._native is None or other._native is None:
            return self is other
        return self._native == other._native

    def __hash__(self) -> int:
        return hash(self._native)

    def __reduce__(self) -> str | tuple[object, ...]:
        if self is Forward.NOWHERE:
            return _nowhere, ()
        return _rebuild, (None if self._native is None else self._native.address, *self._settings)


def _rebuild(address: SocketName | None, connect_timeout: float, source: str | None) -> Forward:
    host, port = address if isinstance(address, tuple) else (address, None)
    return Forward(host, port, connect_timeout=connect_timeout, source=source)


def _nowhere() -> Forward:
    return Forward.NOWHERE


Forward.NOWHERE = Forward()


ForwardTo: TypeAlias = tuple[str, int] | str | Forward
"""The types of a server's `forward_to`."""


def forward_of(value: object, name: str = "forward_to") -> Forward:
    """Return the Forward that `value` means, or raise what Forward raises; `name` is what it is called."""
    if isinstance(value, Forward):
        return value
    if isinstance(value, str):
        return Forward(value)
    advice = 'write ("host", 80), "host:80", "unix:/path" or a Forward'
    if isinstance(value, int) and not isinstance(value, bool):
        port = port_text(value)
        raise wrong_type(name, value, "an address", f'write ("127.0.0.1", {port}) or "127.0.0.1:{port}"')
    if not isinstance(value, (tuple, list)):
        raise wrong_type(name, value, "an address", advice)
    # A list is what JSON and TOML have for a tuple.
    items = cast("tuple[object, ...] | list[object]", value)
    if len(items) != 2:
        raise ConfigError(f"{name}: the {type(items).__name__} has {len(items)} items, not 2; {advice}")
    return Forward(host_text(name, items[0]), port_number(items[1]))


def target_of(value: ForwardTo | None, *, is_needed: bool) -> Forward | None:
    """Return the Forward of a server's `forward_to`; None where there is none and none `is_needed`, else raise."""
    if value is None and is_needed:
        raise ConfigError(
            "forward_to: it is missing; give it as the third argument or as a class attribute, "
            "or give an on_accept that says where each client goes"
        )
    return None if value is None else forward_of(value)


def native_forward(forward: Forward) -> _native.Forward:
    """Return the native side's twin of `forward`."""
    native = forward._native  # pyright: ignore[reportPrivateUsage]
    if native is None:
        raise ConfigError(f"forward_to: {forward!r} names no target; write Forward('host', 80)")
    return native
