"""The TLS of the command: its settings, made a Tls for a listener and a TlsUpstream for its targets."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from .._addresses import address_text
from .._exceptions import ConfigError, InterposeError
from .._forward import Forward, over_tls
from .._groups import Originating, Terminating
from .._intercept import Intercept
from .._settings_and_help import rows_of
from .._tls import Tls, TlsUpstream

_logger = logging.getLogger("interpose.listener")


def tls_of(given: Terminating, upstream: Originating) -> Tls | Intercept | None:
    """Return the TLS of a listener, or None; raise ConfigError for files and values that will not do."""
    if looks_inside(given):
        # A target with TLS of its own would get that from clients without TLS, too.
        own = _upstream_of(upstream, given.keylog) if given.auto or given.starttls else None
        with _by_option("tls"):
            return Intercept(
                own,
                truncation=given.truncation,
                handshake_timeout=given.handshake_timeout,
                keylog=given.keylog,
                auto=given.auto,
                starttls=given.starttls,
            )
    if not given.cert:
        return None
    (cert, key), *more = zip(given.cert, given.key or given.cert, strict=True)
    with _by_option("tls"):
        return Tls(
            cert,
            key,
            more=more,
            client_ca=given.client_ca,
            client_crl=given.client_crl,
            alpn=given.alpn,
            truncation=given.truncation,
            handshake_timeout=given.handshake_timeout,
            keylog=given.keylog,
            auto=given.auto,
        )


def looks_inside(given: Terminating) -> bool:
    """Return whether certificates are made for clients."""
    return given.intercept or given.starttls


def secured(forward: Forward, given: Originating, keylog: str | None) -> Forward:
    """Return a target with the TLS that is spoken there, or raise as tls_of() does."""
    tls = _upstream_of(given, keylog)
    with _by_option("upstream"):
        made = over_tls(forward, tls)
    if given.insecure:
        warn_unchecked(forward)
    return made


def unchecked(forward: Forward, name: str) -> Forward:
    """Return a target with TLS that asks for a name, and accepts what it is shown."""
    with _by_option("sni"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return over_tls(forward, TlsUpstream(server_name=name, verify=False))


def warn_unchecked(forward: Forward) -> None:
    """Log that anyone between here and the target may take its place."""
    _logger.warning(
        "%s: its certificate is not checked (--upstream-insecure): whoever is in between reads and changes "
        "everything; give the certificate as --upstream-ca instead",
        address_text(forward.address),
    )


def _upstream_of(given: Originating, keylog: str | None) -> TlsUpstream:
    with _by_option("upstream"), warnings.catch_warnings():
        # The command has a line of its own for it.
        warnings.simplefilter("ignore", RuntimeWarning)
        return TlsUpstream(
            given.ca,
            given.server_name,
            given.cert,
            given.key,
            crl=given.crl,
            alpn=given.alpn,
            verify=not given.insecure,
            truncation=given.truncation,
            handshake_timeout=given.handshake_timeout,
            keylog=keylog,
        )


@contextmanager
def _by_option(group: str) -> Generator[None]:
    """Let an error begin with the option in the place of the argument that it is about."""
    options = {row.name: row.flag for row in (*rows_of("tls"), *rows_of(group)) if row.flag}
    try:
        yield
    except InterposeError as error:
        text = re.sub(r"^\w+(?=[ :])", lambda name: options.get(name[0], name[0]), f"{error}")
        raise ConfigError(text) from error
