"""The targets of clients by the name that they ask for, and what a server's `tls` may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

from . import _native
from ._exceptions import ConfigError, printable, wrong_type
from ._forward import Forward, ForwardTo, forward_of, native_forward
from ._intercept import Intercept, native_intercept
from ._names import names_checked, nearest, table
from ._tls import Tls, native_tls

_ARGUMENTS = table({"targets": "names map mapping routes hosts", "default": "fallback otherwise other"})

_EXAMPLE = 'ByName({"a.example": "10.0.0.1:443"})'


class ByName:
    """Where clients that speak TLS go, by the name they ask for (SNI); nothing is decrypted, and Python sees nothing.

    `TheServer("", 443, tls=ByName({"a.example": "10.0.0.1:443", "*.b.example": "10.0.0.2:443"}))`.

    * `targets`: for each name an address as `forward_to` has them, or a Forward. `"*.b.example"` is for all names below
      `b.example`, however many parts they have more, and not for that itself; the longest that fits decides. Names are
      compared as DNS does: `A.Example.` is `a.example`.
    * `default`: where clients go that ask for no name, or for none of these. None takes the server's `forward_to`;
      without that, or with False, they are refused, `unknown_name`, with the alert `unrecognized_name`.

    A client that does not speak TLS is reset, `client_tls_failed`. It cannot be changed, and compares by value. Raises
    ArgumentTypeError, ConfigError and AddressError.

    >>> from interpose import ByName
    >>> names = ByName({"a.example": "10.0.0.1:443", "*.b.example": ("10.0.0.2", 443)}, default="10.0.0.3:443")
    >>> names.targets["*.b.example"].address
    ('10.0.0.2', 443)
    """

    __module__ = "interpose"
    __slots__ = ("_default", "_native", "_targets")

    @names_checked(_ARGUMENTS)
    def __init__(self, targets: Mapping[str, ForwardTo], default: ForwardTo | Literal[False] | None = None) -> None:
        if not isinstance(cast("object", targets), Mapping):
            raise wrong_type("tls", targets, "a dict of names and targets", f"write {_EXAMPLE}")
        self._targets = {_name(name): _target(name, target) for name, target in targets.items()}
        self._default: Forward | Literal[False] | None = _default_of(default)
        if not self._targets and not self._default:
            raise ConfigError('tls: ByName has no name, so nobody would go anywhere; write ByName({"a.example": ...})')
        natives = [(name, native_forward(target)) for name, target in self._targets.items()]
        others = native_forward(self._default) if self._default else None
        self._native = _native.ByName(natives, others, refuses_others=self._default is False)

    @property
    def targets(self) -> dict[str, Forward]:
        """The targets by their names, as they were given."""
        return dict(self._targets)

    @property
    def default(self) -> Forward | Literal[False] | None:
        """Where clients go that ask for none of the names; None for `forward_to`, False where they are refused."""
        return self._default

    def __repr__(self) -> str:
        default = "" if self._default is None else f", default={self._default!r}"
        return f"ByName({self._targets!r}{default})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ByName):
            return NotImplemented
        return (self._targets, self._default) == (other._targets, other._default)

    def __hash__(self) -> int:
        return hash((frozenset(self._targets.items()), self._default))

    def __reduce__(self) -> tuple[object, ...]:
        return ByName, (self._targets, self._default)


TlsFor: TypeAlias = Tls | Intercept | ByName | Literal["auto"] | None
"""The types of a server's `tls`."""

Treatment: TypeAlias = tuple["_native.Tls | None", "_native.Intercept | None", "_native.ByName | None", bool]
"""The native side's TLS of clients, what looks inside it, its targets by name, and if clients without TLS are taken."""


def treatment_of(tls: object, *, is_asked: bool) -> Treatment:
    """Return what a server's `tls` means, or raise for what is none. `is_asked`: there is an on_client_hello."""
    if isinstance(tls, ByName):
        return None, None, tls._native, False  # pyright: ignore[reportPrivateUsage]
    if isinstance(tls, str):
        if tls == "auto" and is_asked:
            return None, None, None, True
        if tls == "auto":
            raise ConfigError(
                'tls: "auto" alone has no certificate; write Tls(cert, key, auto=True) or Intercept(auto=True), '
                "or give on_client_hello, which answers a Tls"
            )
        meant = nearest(tls, ["auto"], {})
        advice = f'; did you mean "{meant}"?' if meant else '; write "auto", Tls(cert, key) or ByName({...})'
        raise ConfigError(f"tls: {printable(repr(tls))} is no word for it{advice}")
    if isinstance(tls, Mapping):
        raise wrong_type("tls", cast("object", tls), "a Tls or a ByName", "write ByName({...})")
    if isinstance(tls, Intercept):
        return None, native_intercept(tls), None, tls.auto
    return native_tls(tls), None, None, isinstance(tls, Tls) and tls.auto


def _default_of(default: ForwardTo | Literal[False] | None) -> Forward | Literal[False] | None:
    if default is None or default is False:
        return default
    return _target("default", default)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise wrong_type("tls", name, "a name", f"write {_EXAMPLE}")
    return name


def _target(name: str, target: object) -> Forward:
    shown = name if name == "default" else printable(repr(name))
    forward = forward_of(target, f"tls: {shown}")
    if forward is Forward.NOWHERE:
        raise ConfigError(f"tls: {shown}: Forward.NOWHERE is for on_accept to return; give an address")
    return forward
