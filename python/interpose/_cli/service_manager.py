"""The service manager that has started the command: notices to it (sd_notify), and the sockets that it passes.

Neither needs systemd, only the variables that sd_notify(3) and sd_listen_fds(3) describe.
"""

from __future__ import annotations

import difflib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping

from .._exceptions import ConfigError, printable
from .._threads import start_thread

_FIRST_DESCRIPTOR = 3
# How often the status line is sent, where no watchdog asks for more.
_STATUS_SECONDS = 10.0
_ACTIVATE = "start it from a socket unit or with systemd-socket-activate, or give a port"


class Notifier:
    """Tells the service manager about the command's state; without one it does nothing.

    `status` returns the line to show; `is_alive` is asked before each word to its watchdog.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        status: Callable[[], str],
        is_alive: Callable[[], bool],
    ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._status = status
        self._is_alive = is_alive
        self._watchdog = _watchdog_of(environment)
        self._ended = threading.Event()

    def ready(self) -> None:
        """Say that clients are served, and go on saying so to a watchdog."""
        if not self._address:
            return
        self._send("READY=1", f"STATUS={self._status()}")
        start_thread("interpose-notify", self._run)

    def reloading(self) -> None:
        """Say that files are being read again; reloaded() has to follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Say that the files are in force, or what was before."""
        self._send("READY=1", f"STATUS={self._status()}")

    def stopping(self) -> None:
        """Say that no more clients are served."""
        self._ended.set()
        self._send("STOPPING=1", f"STATUS=stopping: {self._status()}")

    def _run(self) -> None:
        # Twice within the time after which the watchdog kills.
        pause = min(_STATUS_SECONDS, self._watchdog / 2) if self._watchdog else _STATUS_SECONDS
        while not self._ended.wait(pause):
            alive = ["WATCHDOG=1"] if self._watchdog and self._is_alive() else []
            self._send(*alive, f"STATUS={self._status()}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # A manager that is gone or busy holds up nobody.


def _watchdog_of(environment: Mapping[str, str]) -> float:
    """Return the seconds within which the watchdog wants a word; 0 without one, or where it watches another process."""
    try:
        if int(environment.get("WATCHDOG_PID") or os.getpid()) != os.getpid():
            return 0.0
        return int(environment.get("WATCHDOG_USEC") or 0) / 1e6
    except ValueError:
        return 0.0


def passed(environment: Mapping[str, str]) -> dict[int, str]:
    """Return the sockets that the service manager has passed to this process: their descriptors with their names."""
    try:
        if int(environment.get("LISTEN_PID") or 0) != os.getpid():
            return {}
        count = int(environment.get("LISTEN_FDS") or 0)
    except ValueError:
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return {_FIRST_DESCRIPTOR + at: names[at] if at < len(names) else "" for at in range(count)}


def listen_address(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the address that LISTEN means: `systemd:` is the socket that was passed, `systemd:NAME` one by its name.

    Raises ConfigError.
    """
    if not text.startswith("systemd:"):
        return text
    found, name = passed(environment), text.removeprefix("systemd:")
    if not found:
        raise ConfigError(printable(f"{text.rstrip(':')}: no socket was passed (LISTEN_FDS, LISTEN_PID); {_ACTIVATE}"))
    if not name and len(found) > 1:
        raise ConfigError(f"{text} {len(found)} sockets were passed; write {' or '.join(_forms(found))}")
    matching = [number for number, own in found.items() if name in ("", own)]
    if not matching:
        names = [own for own in found.values() if own]
        near = difflib.get_close_matches(name, names, 1)
        advice = f"did you mean systemd:{near[0]}?" if near else f"write {' or '.join(_forms(found))}"
        raise ConfigError(printable(f"{text}: no socket of this name was passed; {advice}"))
    return f"fd:{matching[0]}"


def unused(environment: Mapping[str, str], taken: list[str]) -> list[str]:
    """Return the sockets that were passed and that no listener of the addresses `taken` has."""
    return [f"fd:{number}" for number in passed(environment) if f"fd:{number}" not in taken]


def forget(environment: MutableMapping[str, str]) -> None:
    """Take away the variables that are for this process alone, so that programs of a script do not read them."""
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environment.pop(name, None)


def _forms(found: Mapping[int, str]) -> list[str]:
    return [
        f"systemd:{name}" if [*found.values()].count(name) == 1 and name else f"fd:{at}" for at, name in found.items()
    ]
