"""The first message of a TLS client, as on_client_hello sees it, and one of its answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The first message of a TLS client, which is never encrypted: `on_client_hello(conn, hello)`.

    Values that clients send only to keep servers tolerant (GREASE, RFC 8701) are left out.

    >>> from interpose import ClientHello
    >>> ClientHello("a.example", ("h2",), ("TLSv1.3",), (0x1301,), "t13d0107h2_62ed6f6ca7ad_5b234860e130").server_name
    'a.example'
    """

    server_name: str | None
    """The name that it asks for (SNI), in lower case and without a dot at the end; None if it names none."""
    alpn: tuple[str, ...]
    """The protocols that it offers, the preferred first: `("h2", "http/1.1")`. Bytes are letters of latin-1."""
    versions: tuple[str, ...]
    """The versions that it offers, the preferred first: `("TLSv1.3", "TLSv1.2")`; unknown ones as `"0x7f1c"`."""
    cipher_suites: tuple[int, ...]
    """The cipher suites that it offers, the preferred first, by their registered numbers: `0x1301`."""
    ja4: str
    """The fingerprint of what it offers, by the method JA4 of FoxIO: the same for all clients of one program."""

    __module__ = "interpose"


class Pass(enum.Enum):
    """The type of `interpose.PASS`, for annotations: `def on_client_hello(conn, hello) -> Pass | None`.

    >>> from interpose import PASS, Pass
    >>> isinstance(PASS, Pass), PASS
    (True, interpose.PASS)
    """

    __module__ = "interpose"

    PASS = "PASS"

    def __repr__(self) -> str:
        return "interpose.PASS"


PASS: Final = Pass.PASS
"""The answer of on_client_hello that the client's TLS is passed on undecrypted, byte for byte."""
