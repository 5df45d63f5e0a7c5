"""Ports by the names that this machine has for them: `db:postgresql` is port 5432."""

from __future__ import annotations

import difflib
import re

from ._exceptions import AddressError, printable

_NAMED = re.compile(r"(\[[^\]]*\]|[^:\[\]/@ ]*):([A-Za-z][A-Za-z0-9_-]{0,39})")
_LIST = "/etc/services"
# For a machine whose list has less, or that has none, as most containers.
_COMMON = {
    "amqp": 5672,
    "http": 80,
    "https": 443,
    "ldap": 389,
    "memcached": 11211,
    "modbus": 502,
    "mongodb": 27017,
    "mqtt": 1883,
    "mysql": 3306,
    "postgres": 5432,
    "postgresql": 5432,
    "redis": 6379,
    "ssh": 22,
}


def numbered(text: str) -> str:
    """Return the address `text` with its port as a number, if it is a service's name; raise AddressError.

    What is no host and name stays as it is.

    >>> numbered("localhost:9090"), numbered("unix:socket")
    ('localhost:9090', 'unix:socket')
    """
    found = _NAMED.fullmatch(text)
    if not found or found[1] in ("unix", "fd", "systemd"):
        return text
    # Only where it is needed: it takes time.
    import socket

    host, name = found.groups()
    for one in (name, name.lower()):
        try:
            return f"{host}:{socket.getservbyname(one, 'tcp')}"
        except (OSError, UnicodeEncodeError):
            continue
    known = _names()
    near = difflib.get_close_matches(name.lower(), known | _COMMON.keys(), 1, 0.65)
    if not near:
        meant = f"write its number, such as {host}:5432"
    elif near[0] in known:
        meant = f"did you mean {host}:{near[0]}?"
    else:
        meant = f"{near[0]} is mostly {_COMMON[near[0]]}: write {host}:{_COMMON[near[0]]}"
    raise AddressError(printable(f'address "{text}": this machine knows no service {name}; {meant}'))


def _names() -> set[str]:
    """Return the names of services that this machine knows, as far as it has a list."""
    names: set[str] = set()
    try:
        with open(_LIST, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 (pathlib would be imported for it)
            for line in lines:
                words = line.partition("#")[0].split()
                if len(words) > 1 and words[1].endswith("/tcp"):
                    names.update((words[0], *words[2:]))
    except OSError:
        pass
    return names
