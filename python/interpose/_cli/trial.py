"""One connection to a target, to see what answers there."""

from __future__ import annotations

import errno
import re
import socket
import time
from dataclasses import dataclass

from .._addresses import address_text, unix_path
from .._exceptions import printable
from .._forward import Forward

# A server that speaks first does so at once; one that does not is asked nothing.
_GREETING_SECONDS = 1.0
_MOST_BYTES = 256

_GREETINGS = (
    (re.compile(rb"SSH-[\d.]+-"), "an SSH server"),
    (re.compile(rb"220[ -].*(?:SMTP|ESMTP)", re.IGNORECASE), "an SMTP server"),
    (re.compile(rb"220[ -]"), "an FTP or SMTP server"),
    (re.compile(rb"\* OK|\+OK"), "a mail server (IMAP or POP3)"),
    (re.compile(rb"HTTP/1\.[01] "), "an HTTP server that answers unasked"),
    (re.compile(rb"[\x14-\x17]\x03[\x00-\x04]"), "a TLS record"),
    (re.compile(rb"(?s)...\x00\x0a\d+\.\d+"), "a MySQL or MariaDB server"),
    (re.compile(rb"(?s)...\x00\xff"), "a MySQL or MariaDB server that refuses this client"),
    (re.compile(rb"RFB \d{3}\.\d{3}"), "a VNC server"),
    (re.compile(rb"-ERR|-DENIED"), "a Redis server that refuses this client"),
)
_FAILURES = {
    errno.ECONNREFUSED: "refused: nothing listens there; start the server, or check the port",
    errno.EHOSTUNREACH: "unreachable: no way leads to that host; check the address and the network",
    errno.ENETUNREACH: "unreachable: no way leads to that network; check the address and the network",
    errno.ENOENT: "refused: there is no such socket; check the path",
    errno.EACCES: "refused: this user may not connect to it; check the rights",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """The result, in one line."""

    is_connected: bool
    text: str


def connect(forward: Forward, *, greets: bool = True) -> Trial:
    """Connect to the target, wait a moment for a greeting if it may have one, and close."""
    begin = time.monotonic()
    path = unix_path(forward.address)
    try:
        if path is None:
            source = (forward.source, 0) if forward.source else None
            found = socket.create_connection(forward.address, forward.connect_timeout, source)
        else:
            found = _unix(path, forward.connect_timeout)
    except TimeoutError:
        return Trial(False, f"no answer within {forward.connect_timeout:g} s; check the address and the firewalls")
    except socket.gaierror as error:
        return Trial(False, f"the name cannot be looked up ({error.strerror}); check it, or give an IP address")
    except OSError as error:
        words = _FAILURES.get(error.errno or 0, f"failed ({error.strerror or error}); check the address")
        return Trial(False, words)
    taken = (time.monotonic() - begin) * 1000
    with found:
        name = "" if path is not None else f" to {address_text(found.getpeername()[:2])}"
        greeting = f"; {_greeting(found)}" if greets else ""
        return Trial(True, f"connected{name} in {taken:.1f} ms{greeting}")


def _unix(path: str, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(seconds)
        sock.connect(f"\0{path[1:]}" if path.startswith("@") else path)
    except BaseException:
        sock.close()
        raise
    return sock


def _greeting(sock: socket.socket) -> str:
    sock.settimeout(_GREETING_SECONDS)
    try:
        data = sock.recv(_MOST_BYTES)
    except TimeoutError:
        return "it waits for the client to speak first"
    except OSError as error:
        return f"it ended the connection at once ({error.strerror})"
    if not data:
        return "it closed the connection at once"
    what = next((what for pattern, what in _GREETINGS if pattern.match(data)), "a server that speaks first")
    first = data.split(b"\n", 1)[0].rstrip(b"\r").decode("latin-1")[:60]
    return f"{what} greets with {printable(first)!r}" if first.isprintable() else f"{what}, whose greeting is binary"
