"""Addresses: a socket's name, its text, and what hosts and ports may be."""

from __future__ import annotations

import logging
from typing import NamedTuple, TypeAlias, cast

from ._exceptions import AddressError, ConfigError, InterposeError, printable, wrong_type
from ._service_names import numbered

# A name has 253 characters at most, a path 107 bytes. Errors quote the text, so it must not be a megabyte.
MOST_TEXT = 300

SocketName: TypeAlias = tuple[str, int] | str
"""`(host, port)`, or `"unix:/path"`. The host of an IPv6 address has no brackets."""


class Address(NamedTuple):
    """A host and a port: the tuple that sockets take, and the text that everything else does.

    >>> f"redis://{Address('127.0.0.1', 6379)}/0"
    'redis://127.0.0.1:6379/0'
    """

    host: str
    port: int

    def __str__(self) -> str:
        return address_text((self.host, self.port))


def host_port(name: SocketName) -> tuple[str, int]:
    """Return `name` as it is, to type checkers the commonest kind: who serves Unix sockets asks unix_path first."""
    return cast("tuple[str, int]", name)


def unix_path(name: SocketName) -> str | None:
    """Return the path of a Unix socket's name, empty if it has none; None for another kind of socket.

    >>> unix_path("unix:/run/app.sock"), unix_path("unix:"), unix_path(("::1", 80))
    ('/run/app.sock', '', None)
    """
    return name.removeprefix("unix:") if isinstance(name, str) else None


def without_tls(text: str) -> tuple[str, bool]:
    """Return the address of a target without `tls://`, and whether it began with that.

    >>> without_tls("tls://db:5432"), without_tls("db:5432")
    (('db:5432', True), ('db:5432', False))
    """
    return text.removeprefix("tls://"), text.startswith("tls://")


def address_text(name: SocketName) -> str:
    """Write a socket's name as a person would, and inert on a terminal.

    >>> address_text(("::1", 9090))
    '[::1]:9090'
    """
    if isinstance(name, str):
        return printable(name)
    host, port = name
    return printable(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def port_number(value: object, *, listens: bool = True) -> int:
    """Return `value` as a TCP port to listen on or to connect to, or raise."""
    if isinstance(value, bool) or not isinstance(value, int):
        digits = value.strip() if isinstance(value, str) else ""
        number = digits if digits.isascii() and digits.isdigit() and len(digits) <= 5 else "9090"
        raise wrong_type("port", value, "an int", f"give a number without quotes, such as {number}")
    if not 0 <= value <= 65535:
        advice = "give 0 for any free port" if listens else "give the one the upstream listens on"
        raise ConfigError(f"port: it is not between {0 if listens else 1} and 65535; {advice}")
    return int(value)


def port_text(value: int) -> str:
    """Write `value` if it is a port, else one that is.

    >>> port_text(80)
    '80'
    """
    return str(int(value)) if 0 <= value <= 65535 else "9090"


def host_text(name: str, value: object) -> str:
    """Return `value` if it is text that can be an address, or raise."""
    if not isinstance(value, str):
        advice = 'give a host such as "127.0.0.1" and a port such as 9090'
        if isinstance(value, (bytes, bytearray)):
            advice = "give text, such as host.decode()"
        elif isinstance(value, int) and not isinstance(value, bool):
            advice = f'a port stands behind its host, as in ("127.0.0.1", {port_text(value)})'
        raise wrong_type(name, value, "a str", advice)
    if len(value) > MOST_TEXT:
        raise AddressError(f"{name}: it is longer than any address ({len(value):,} characters); give a shorter one")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise AddressError(f"{name}: {value!r} has a lone surrogate; give plain text") from None
    return value


def named(name: str, error: InterposeError) -> InterposeError:
    """Return `error`, of an address, as one of the setting `name` that the address was given for.

    >>> named("mirror_to", AddressError('address "b": the port is missing; write b:80'))
    AddressError('mirror_to: address "b": the port is missing; write b:80')
    """
    text = f"{error}"
    return error if text.startswith(f"{name}: ") else type(error)(f"{name}: {text.removeprefix('forward_to: ')}")


def listen_address(host: object, port: object) -> tuple[str, int | None]:
    """Return the host and port that a listener is asked for, or raise."""
    if isinstance(host, int) and not isinstance(host, bool):
        more = "" if port is None else ", and the upstream as forward_to"
        raise wrong_type("host", host, "a str", f'write TheServer("", {port_text(host)}, ...){more}')
    text = host_text("host", host)
    if port is None:
        if not text:
            raise ConfigError('port: it is missing; write TheServer("", 9090, ...), or 0 for any free port')
        return numbered(text), None
    number = port_number(port)
    if text.startswith(("unix:", "fd:")):
        what = "a Unix socket" if text.startswith("unix:") else "a descriptor"
        raise ConfigError(f"port: {what} has none; leave it out")
    return text or "127.0.0.1", number


def warn_if_public(address: SocketName) -> None:
    """Log that everybody may connect, if that is so."""
    if address[0] in ("0.0.0.0", "::"):
        logging.getLogger("interpose.listener").warning(
            "listener %s: every machine that can reach this one may connect; "
            "listen on 127.0.0.1, or say that it is meant to be public (public=True, --public)",
            address_text(address),
        )
