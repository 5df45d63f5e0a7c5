"""The target that clients are forwarded to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast

from . import _native
from ._addresses import (
    SocketName,
    address_text,
    host_port,
    host_text,
    named,
    port_number,
    port_text,
    unix_path,
    without_tls,
)
from ._checks import seconds
from ._exceptions import ConfigError, InterposeError, wrong_type
from ._names import FORWARD_ARGUMENTS, names_checked
from ._service_names import numbered
from ._tls import TlsUpstream, native_tls_upstream

if TYPE_CHECKING:
    from ._outgoing import Outgoing


class Forward:
    """Where to connect, and how.

    * `host`: a name or an IP address. Without a `port` it is a whole address: `"host:25"`, `"[::1]:25"`,
      `"unix:/path"`. A name is looked up for each connection. `"tls://host:25"` is `tls=TlsUpstream()` as well.
    * `port`: 1 to 65535.
    * `connect_timeout`: seconds that name lookup and connecting may take together.
    * `source`: the local IP address to connect from; None lets the kernel choose.
    * `fallback`: targets that are tried in this order when the one before cannot be connected: refused, unreachable,
      too late, or a name without an address. Addresses as `forward_to` has them, with this one's `connect_timeout` and
      `source`, or Forwards, with their own; 15 at most. `Connection.error` says which were passed over, and why.
    * `tls`: a TlsUpstream, to speak TLS with the upstream; None to not. Addresses in `fallback` have it as well.
    * `retry`: seconds in which all targets are tried again while none can be connected, with pauses that grow from
      50 ms to a second; the client waits meanwhile. None tries each once.

    It cannot be changed, and compares by value. Raises ArgumentTypeError, AddressError and ConfigError.

    `Forward.NOWHERE` is for `on_accept` to return: the client gets no upstream, and callbacks answer it. Without
    a host it is only good for start().

    >>> from interpose import Forward
    >>> Forward("smtp.example.com", 25, connect_timeout=3).address
    ('smtp.example.com', 25)
    >>> Forward("smtp.example.com:25") == Forward("smtp.example.com", 25)
    True
    >>> Forward("db:5432", fallback=["standby:5432"], retry=30)
    Forward('db:5432', connect_timeout=10, fallback=['standby:5432'], retry=30)
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
        fallback: Sequence[ForwardTo] = (),
        retry: float | None = None,
        tls: TlsUpstream | None = None,
    ) -> None:
        limit = seconds("connect_timeout", connect_timeout)
        if source is not None:
            source = host_text("source", source)
        if retry is not None:
            retry = seconds("retry", retry)
        if host is not None:
            host, is_secure = without_tls(host_text("host", host))
            tls = TlsUpstream() if is_secure and tls is None else tls
        native = native_tls_upstream(tls)
        others = tuple(_fallback_of(item, limit, source, tls) for item in _items(fallback))
        # Those of a fallback follow it; the native side has the same list.
        flat = tuple(one for other in others for one in (other._alone(), *other.fallback))
        self._settings = (limit, source, flat, retry, tls)
        self._native: _native.Forward | None = None
        if host is None:
            if port is not None:
                raise ConfigError('host: it is missing, and the port is not; give both, as in Forward("host", 80)')
            return
        if port is None:
            host = numbered(host)
        else:
            port = port_number(port, listens=False)
            if host.startswith("unix:"):
                raise ConfigError("port: a Unix socket has none; leave it out")
            if port == 0:
                raise ConfigError("port: 0 is not a port to connect to; give the one the upstream listens on")
        self._native = _native.Forward(host, port, connect_timeout=limit, source=source)
        if native is not None:
            self._native = self._native.with_tls(native)
        if others or retry is not None:
            self._native = self._native.or_else([native_forward(other, "fallback") for other in others], retry)

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

    @property
    def fallback(self) -> tuple[Forward, ...]:
        """The targets that are tried in this order when those before cannot be connected.

        >>> from interpose import Forward
        >>> Forward("a:1", fallback=["b:2", ("c", 3)]).fallback[1].address
        ('c', 3)
        """
        return self._settings[2]

    @property
    def retry(self) -> float | None:
        """Seconds in which all targets are tried again while none can be connected, or None."""
        return self._settings[3]

    @property
    def tls(self) -> TlsUpstream | None:
        """The TLS that is spoken with the upstream, or None."""
        return self._settings[4]

    def _alone(self) -> Forward:
        """Return this target without its fallbacks."""
        if not self.fallback:
            return self
        timeout, source, _, retry, tls = self._settings
        return _rebuild(native_forward(self).address, timeout, source, (), retry, tls)

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

        timeout, source, others, retry, tls = self._settings
        if tls is not None:
            raise ConfigError("tls: start() gives a plain socket; return the Forward from on_accept instead")
        target = self
        if host is not None:
            target = Forward(host, port, connect_timeout=timeout, source=source, fallback=others, retry=retry)
        return connected(native_forward(target))

    def __repr__(self) -> str:
        if self._native is None:
            return "Forward.NOWHERE" if self is Forward.NOWHERE else "Forward()"
        limit, source, others, retry, tls = self._settings
        parts = [repr(address_text(self.address)), f"connect_timeout={limit:g}"]
        if source is not None:
            parts.append(f"source={source!r}")
        if others:
            # One with this one's settings is shown as it may be written.
            likes = (one._settings == (limit, _fitting(source, one), (), None, tls) for one in others)
            pairs = zip(others, likes, strict=True)
            shown = [repr(address_text(one.address)) if like else repr(one) for one, like in pairs]
            parts.append(f"fallback=[{', '.join(shown)}]")
        if retry is not None:
            parts.append(f"retry={retry:g}")
        if tls is not None:
            parts.append(f"tls={tls!r}")
        return f"Forward({', '.join(parts)})"

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


def _rebuild(
    address: SocketName | None,
    connect_timeout: float,
    source: str | None,
    fallback: tuple[Forward, ...] = (),
    retry: float | None = None,
    tls: TlsUpstream | None = None,
) -> Forward:
    host, port = address if isinstance(address, tuple) else (address, None)
    return Forward(host, port, connect_timeout=connect_timeout, source=source, fallback=fallback, retry=retry, tls=tls)


def over_tls(forward: Forward, tls: TlsUpstream) -> Forward:
    """Return `forward` and its fallbacks with this TLS."""
    timeout, source, others, retry, _ = forward._settings  # pyright: ignore[reportPrivateUsage]
    secure = tuple(over_tls(one, tls) for one in others)
    return _rebuild(native_forward(forward).address, timeout, source, secure, retry, tls)


def _items(value: object) -> list[object]:
    """Return the items of a `fallback`, or raise for what is no list."""
    if not isinstance(value, (list, tuple)):
        raise wrong_type("fallback", value, "a list", 'write ["standby:80"], or a list of Forwards')
    items = [*cast("list[object] | tuple[object, ...]", value)]
    if len(items) == 2 and isinstance(items[0], str) and isinstance(items[1], int):
        raise ConfigError(f"fallback: it is an address, not a list of some; write [{(items[0], items[1])!r}]")
    return items


def _fallback_of(item: object, limit: float, source: str | None, tls: TlsUpstream | None) -> Forward:
    """Return the target that an item of `fallback` means; an address has the settings of its Forward."""
    forward = forward_of(item, "fallback")
    if isinstance(item, Forward):
        return forward
    try:
        return _rebuild(native_forward(forward).address, limit, _fitting(source, forward), tls=tls)
    except InterposeError as error:
        raise named("fallback", error) from None


def _fitting(source: str | None, forward: Forward) -> str | None:
    """Return `source` for a target that can have one: not for a Unix socket."""
    return None if forward.unix_path is not None else source


def _nowhere() -> Forward:
    return Forward.NOWHERE


Forward.NOWHERE = Forward()


ForwardTo: TypeAlias = tuple[str, int] | str | Forward
"""The types of a server's `forward_to`."""


def forward_of(value: object, name: str = "forward_to") -> Forward:
    """Return the Forward that `value` means, or raise what Forward raises; `name` is what it is called."""
    if isinstance(value, Forward):
        return value
    try:
        return _forward_of(value, name)
    except InterposeError as error:
        raise named(name, error) from None


def _forward_of(value: object, name: str) -> Forward:
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
    return Forward(host_text(name, items[0]), port_number(items[1], listens=False))


def target_of(value: ForwardTo | None, *, is_needed: bool) -> Forward | None:
    """Return the Forward of a server's `forward_to`; None where there is none and none `is_needed`, else raise."""
    if value is None and is_needed:
        raise ConfigError(
            "forward_to: it is missing; give it as the third argument or as a class attribute, "
            "or give an on_accept that says where each client goes"
        )
    return None if value is None else forward_of(value)


def mirror_of(value: object, forward: Forward | None) -> Forward | None:
    """Return the Forward of a server's `mirror_to`, or raise what Forward raises. `forward`: where its clients go."""
    if value is None:
        return None
    mirror = forward_of(value, "mirror_to")
    native_forward(mirror, "mirror_to")
    if forward is not None and forward is not Forward.NOWHERE and forward.address == mirror.address:
        text = address_text(mirror.address)
        raise ConfigError(
            f"mirror_to: {text} is forward_to as well, and would get each client twice; give another target"
        )
    return mirror


def native_forward(forward: Forward, name: str = "forward_to") -> _native.Forward:
    """Return the native side's twin of `forward`."""
    native = forward._native  # pyright: ignore[reportPrivateUsage]
    if native is None:
        raise ConfigError(f"{name}: {forward!r} names no target; write Forward('host', 80)")
    return native
