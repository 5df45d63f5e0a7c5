"""The beginning of TLS amid a connection, which a callback asks for."""

from __future__ import annotations

from typing import Literal, TypeAlias

from . import _native
from ._exceptions import ConfigError, ConnectionClosedError, StartTlsError, wrong_type
from ._intercept import Intercept, native_intercept, upstream_of
from ._tls import Tls, TlsUpstream, native_tls, native_tls_upstream

ClientTls: TypeAlias = Tls | Intercept | Literal[True] | None
"""The types of the TLS that begins with a client."""

UpstreamTls: TypeAlias = TlsUpstream | Literal[True] | None
"""The types of the TLS that begins with an upstream."""

_Client: TypeAlias = tuple["_native.Tls | None", "_native.Intercept | None"]


def begin(native: _native.Connection, configured: object, client: object, upstream: object, early: bytes) -> None:
    """Ask for TLS with the sides that have some here, or raise why not. `configured` is the server's own `tls`."""
    chosen = configured if client is True else client
    if client is True and not isinstance(configured, Tls | Intercept):
        raise ConfigError("start_tls: the server has no tls that True could mean; write client=Tls(cert, key)")
    if chosen in (None, False) and upstream in (None, False):
        raise ConfigError("start_tls: it begins with neither side; give client=..., upstream=..., or both")
    if early and chosen in (None, False):
        raise ConfigError("start_tls: early is the beginning of the client's TLS; give client=... as well")
    refused = _native.start_tls(native, _client(chosen), _upstream(upstream, configured, chosen), early)
    if refused is not None:
        reason, side = refused
        raise _error(reason, side, native)


def _client(chosen: object) -> _Client:
    if isinstance(chosen, Intercept):
        return None, native_intercept(chosen)
    if chosen is None or chosen is False:
        return None, None
    if not isinstance(chosen, Tls):
        raise wrong_type("client", chosen, "a Tls or an Intercept", "write Tls(cert, key), Intercept(), or True")
    return native_tls(chosen), None


def _upstream(upstream: object, configured: object, chosen: object) -> _native.TlsUpstream | None:
    if upstream is True:
        looking = next((one for one in (chosen, configured) if isinstance(one, Intercept)), None)
        return native_tls_upstream(TlsUpstream() if looking is None else upstream_of(looking))
    if upstream is False:
        return None
    if upstream is not None and not isinstance(upstream, TlsUpstream):
        raise wrong_type("upstream", upstream, "a TlsUpstream", "write TlsUpstream(), or True")
    return native_tls_upstream(upstream)


def _error(reason: str, side: str, native: _native.Connection) -> Exception:
    if reason == "ended":
        why = native.reason or "that direction has ended"
        return ConnectionClosedError(f"start_tls: connection {native.id} takes nothing for its {side} any more: {why}")
    if reason == "already":
        return StartTlsError(
            f"start_tls: the {side} speaks TLS already, or is about to; begin it once, with a side that speaks plain"
        )
    if reason == "missing":
        return StartTlsError("start_tls: there is no upstream yet; call it in on_connect or on_recv")
    return StartTlsError(
        "start_tls: no callback is called here with what is received, so nobody knows where TLS begins; call it in "
        "on_recv, before passthrough()"
    )
