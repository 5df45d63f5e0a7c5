"""Ports by the names that this machine has for them: `db:postgresql` is port 5432."""

from __future__ import annotations

import difflib
import re

from ._exceptions import AddressError, printable

_NAMED = re.compile(r"(\[[^\]]*\]|[^:\[\]/@ ]*):([A-Za-z][A-Za-z0-9_-]{0,39})")
_LIST = "/etc/services"


def numbered(text: str) -> str:
    """Return the address `text` with its port as a number, if it is a service's name; raise AddressError.

    What is no address, and a name that no list has and none is near to, stays as it is.

    >>> numbered("localhost:9090"), numbered("unix:socket")
    ('localhost:9090', 'unix:socket')
    """
    found = _NAMED.fullmatch(text)
    if not found or found[1] in ("unix", "fd"):
        return text
    # Only where it is needed: it takes time.
    import socket

    host, name = found.groups()
    for one in (name, name.lower()):
        try:
            return f"{host}:{socket.getservbyname(one, 'tcp')}"
        except (OSError, UnicodeEncodeError):
            continue
    near = difflib.get_close_matches(name.lower(), _names(), 1, 0.75)
    if near:
        meant = f"{host}:{near[0]}"
        raise AddressError(printable(f'address "{text}": no service is called {name}; did you mean {meant}?'))
    return text


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
