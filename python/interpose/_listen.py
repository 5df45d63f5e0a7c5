"""Where a server listens, and what its arguments have to be."""

from __future__ import annotations

import logging
from typing import TypeVar

from ._config import host_text, port_number, port_text
from ._exceptions import ConfigError, wrong_type
from ._forward import SocketName, address_text

_Setting = TypeVar("_Setting")


def listen_address(host: object, port: object) -> tuple[str, int | None]:
    """Return the host and port that a listener is asked for, or raise."""
    if isinstance(host, int) and not isinstance(host, bool):
        more = "" if port is None else ", and the upstream as forward_to"
        raise wrong_type("host", host, "a str", f'write TheServer("", {port_text(host)}, ...){more}')
    text = host_text("host", host)
    if port is None:
        if not text:
            raise ConfigError('port: it is missing; write TheServer("", 9090, ...), or 0 for any free port')
        return text, None
    number = port_number(port)
    if text.startswith("unix:"):
        raise ConfigError("port: a Unix socket has none; leave it out")
    return text or "127.0.0.1", number


def instance(name: str, value: object, kind: type[_Setting]) -> _Setting:
    """Return `value` if it is a `kind`, or raise."""
    if not isinstance(value, kind):
        raise wrong_type(name, value, f"a {kind.__name__}", f"write {kind.__name__}(...)")
    return value


def warn_if_public(address: SocketName) -> None:
    """Log that everybody may connect, if that is so."""
    if address[0] in ("0.0.0.0", "::"):
        logging.getLogger("interpose.listener").warning(
            "listener %s: every machine that can reach this one may connect; "
            "listen on 127.0.0.1, or say that it is meant to be public",
            address_text(address),
        )
