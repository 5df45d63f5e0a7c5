"""The vacancy of a LISTEN, tried without ever listening there: a client must not come and be reset."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

from .._exceptions import BindError, ResolveError
from .._forward import Forward
from .._groups import Listen
from .._server import TheServer
from .._service_names import numbered


def occupied(address: str, listen: Listen) -> str:
    """Return why the address LISTEN cannot be listened on, in the words of a start; nothing if it can."""
    # A socket that was passed is there.
    if address.startswith("fd:") or not _is_refused(numbered(address), listen):
        return ""
    try:
        TheServer(address, on_accept=lambda _: Forward.NOWHERE, listen=listen).stop(0.0)
    except (BindError, ResolveError) as error:
        return f"{error}"
    return ""


def instance_of(why: str, config: str | None) -> int | None:
    """Return the process that is named in `why`, if it serves the file `config`."""
    found = re.search(r" \(pid (\d+)\) listens there", why)
    if config is None or found is None or not sys.platform.startswith("linux"):
        return None
    process = Path("/proc", found[1])
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        served = _config_of(words) or _config_of_environment((process / "environ").read_bytes().split(b"\0"))
        if served and (process / "cwd" / os.fsdecode(served)).samefile(config):
            return int(found[1])
    except OSError:
        pass  # it is another user's, or has ended
    return None


def _is_refused(address: str, listen: Listen) -> bool:
    if address.startswith("unix:"):
        return _is_path_refused(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or port == "0":
        return False
    try:
        found = socket.getaddrinfo(host.strip("[]") or "127.0.0.1", int(port), type=socket.SOCK_STREAM)
    except OSError:
        return False  # the look-up of names reports it
    return any(_is_name_refused(family, name, listen) for family, *_, name in found)


def _is_name_refused(family: int, name: tuple[object, ...], listen: Listen) -> bool:
    try:
        with socket.socket(family) as sock:
            if sys.platform != "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listen.reuse_port and hasattr(socket, "SO_REUSEPORT"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # As a start does: [::] serves IPv4, too.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, name[0] != "::")
            sock.bind(name)
    except OSError:
        return True
    return False


def _is_path_refused(path: str) -> bool:
    """Return whether somebody listens there, or no socket can be made."""
    if path.startswith("@"):
        path = f"\0{path[1:]}"
    elif not os.access(Path(path).parent, os.W_OK | os.X_OK):
        return True
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(1.0)
            sock.connect(path)
    except ConnectionRefusedError:
        return False  # left by one that has ended; a start takes its place
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _config_of(words: list[bytes]) -> bytes:
    """Return the file of settings in a command line."""
    for at, word in enumerate(words):
        if word.startswith(b"--config="):
            return word.removeprefix(b"--config=")
        if word == b"--config" and at + 1 < len(words):
            return words[at + 1]
    return b""


def _config_of_environment(variables: list[bytes]) -> bytes:
    begin = b"INTERPOSE_CONFIG="
    return next((one.removeprefix(begin) for one in variables if one.startswith(begin)), b"")
