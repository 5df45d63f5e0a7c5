"""A proxy as toxiproxy has it: a server that can be disabled, enabled again, and moved, with its toxics."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .._addresses import address_text
from .._connection import Connection
from .._exceptions import BindError, InterposeError
from .._forward import Forward
from .._server import TheServer
from ..faults import CloseAfter, Fault, Latency
from ._body import Fields, fields_of, switch_of, text_of
from ._refusal import RefusedError, bad_body, missing, no_such
from ._toxic import Toxic, wish_of

FIELDS = ("name", "listen", "upstream", "enabled", "toxics")
MOST_TOXICS = 32

# How long connections that are closed have to be gone. Those that hold bytes back longer are reset.
_CLOSING_SECONDS = 0.05
_PAUSE_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Wanted:
    """A proxy as a body asks for it."""

    name: str
    listen: str
    upstream: str
    enabled: bool


def wanted(value: object, number: int | None = None) -> Wanted:
    """Return the proxy that a body asks for, as the `number`-th of several, or raise RefusedError."""
    fields = fields_of(value, FIELDS, "proxy")
    place = "" if number is None else f" at proxy {number}"
    for name in ("name", "upstream"):
        if not text_of(fields, name):
            raise missing(f"{name}{place}")
    listen, upstream = _listen_of(fields), _upstream_of(fields)
    return Wanted(text_of(fields, "name"), listen, upstream, switch_of(fields, "enabled", True))


class Proxy:
    """A proxy. Its methods are called by one thread, and raise RefusedError."""

    def __init__(self, asked: Wanted, seed: int | None) -> None:
        self.name = asked.name
        self.listen = self._asked = asked.listen
        self.upstream = asked.upstream
        self.enabled = False
        self.toxics: list[Toxic] = []
        self.server: TheServer | None = None
        self._seed = seed

    def shown(self) -> Fields:
        """Return its fields for JSON."""
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": [toxic.shown() for toxic in self.listed()],
        }

    def listed(self) -> list[Toxic]:
        """Return the toxics in toxiproxy's order: those of the upstream's stream before the others."""
        return sorted(self.toxics, key=lambda toxic: toxic.is_downstream)

    def is_same(self, listen: str, upstream: str) -> bool:
        """Return whether it forwards that way already."""
        return upstream == self.upstream and self._listens_at(listen)

    def _listens_at(self, listen: str) -> bool:
        return listen in (self._asked, self.listen, self.listen.replace("127.0.0.1:", "localhost:"))

    def enable(self) -> None:
        """Listen, if it does not."""
        if self.enabled:
            return
        if self.server is None:
            self.server = self._begun()
            self.listen = address_text(self.server.address)
        else:
            self.server.faults = self._faults()
            try:
                self.server.resume_listening()
            except BindError as error:
                raise RefusedError(500, f"{error}") from error
        self.enabled = True

    def disable(self) -> None:
        """Refuse clients, and end all connections. The address stays taken, so that it can come back there."""
        self.enabled = False
        if self.server is None:
            return
        try:
            self.server.pause_listening()
        except BindError:
            # A system that cannot keep the address for it.
            self._asked = self.listen
            self.end()
            return
        # A client may wait to be accepted still.
        _close_all(self.server)
        end_connections([self.server])

    def end(self) -> None:
        """Leave the address, and end all connections."""
        self.enabled = False
        if self.server is not None:
            _close_all(self.server)
            # The stop resets what is left, so they have a moment for their ends.
            end_connections([self.server], waits=True)
            self.server.stop(0.0)
            self.server = None

    def change(self, value: object) -> None:
        """Change what a body names. Another address or upstream ends all connections."""
        fields = fields_of(value, FIELDS, "proxy")
        listen = _listen_of(fields) if "listen" in fields else self.listen
        upstream = _upstream_of(fields) if "upstream" in fields else self.upstream
        enabled = switch_of(fields, "enabled", self.enabled)
        if not self.is_same(listen, upstream):
            if self._listens_at(listen):
                self.disable()
            else:
                self.end()
                self.listen = self._asked = listen
            self.upstream = upstream
            if self.server is not None:
                self.server.forward_to = Forward(upstream)
        if enabled:
            self.enable()
        elif self.enabled:
            self.disable()

    def toxic(self, name: str) -> Toxic:
        """Return the toxic of this name."""
        for one in self.toxics:
            if one.name == name:
                return one
        raise no_such("toxic", name, [one.name for one in self.toxics])

    def add(self, value: object) -> Toxic:
        """Add the toxic that a body asks for, for live connections as well."""
        wish = wish_of(value)
        if any(one.name == wish.name for one in self.toxics):
            raise RefusedError(409, "toxic already exists")
        if len(self.toxics) >= MOST_TOXICS:
            raise bad_body(f"the proxy has {MOST_TOXICS} toxics, which is all that it can have; delete one")
        added = wish.toxic()
        self.toxics.append(added)
        self._apply()
        return added

    def change_toxic(self, name: str, value: object) -> Toxic:
        """Change a toxic in its place, for live connections as well. One that stays as it was goes on."""
        before = self.toxic(name)
        after = before.changed(value)
        if after == before:
            return before
        self.toxics[self.toxics.index(before)] = after
        self._apply()
        return after

    def remove(self, name: str) -> None:
        """Take a toxic away, from live connections as well."""
        self._remove([self.toxic(name)])

    def reset(self) -> None:
        """Listen, and take all toxics away."""
        self.enable()
        self._remove(list(self.toxics))

    def _remove(self, gone: list[Toxic]) -> None:
        # The bytes that a timeout has swallowed are gone: its connections cannot go on.
        if self.server is not None and any(toxic.kind == "timeout" for toxic in gone):
            end_connections([self.server])
        self.toxics = [one for one in self.toxics if one not in gone]
        self._apply()

    def _apply(self) -> None:
        if self.enabled and self.server is not None:
            self.server.faults = self._faults()

    def _faults(self) -> list[Fault]:
        return [fault for toxic in self.toxics for fault in toxic.faults]

    def _begun(self) -> TheServer:
        listen = self._asked or "127.0.0.1:0"
        # As Go has it: every address.
        listen = f"0.0.0.0{listen}" if listen.startswith(":") else listen
        try:
            server = TheServer(listen, None, self.upstream, faults=self._faults(), seed=self._seed, drain=0.0)
            return server.start()
        except InterposeError as error:
            raise RefusedError(500, f"listen: {error}") from error


def _listen_of(fields: Fields) -> str:
    listen = text_of(fields, "listen")
    if listen.startswith(("unix:", "fd:")):
        raise bad_body("listen is no host and port; give one such as 127.0.0.1:26379")
    return listen


def _upstream_of(fields: Fields) -> str:
    upstream = text_of(fields, "upstream")
    if upstream.startswith("unix:"):
        raise bad_body("upstream is no host and port; give one such as 127.0.0.1:6379")
    try:
        Forward(upstream)
    except InterposeError as error:
        raise bad_body(f"upstream: {f'{error}'.removeprefix('forward_to: ')}") from error
    return upstream


def _close_all(server: TheServer) -> None:
    """Have connections end in order, also those to come. What is late stays so, and is lost by a reset."""
    server.faults = [CloseAfter(0.0), *(one for one in server.faults if isinstance(one, Latency))]


def end_connections(servers: list[TheServer], *, waits: bool = False) -> None:
    """End all connections: in order, those that hold bytes back, or have no upstream yet, by RST.

    With `waits` it returns when they are gone, or a moment later.
    """
    for connection in _connections(servers):
        connection.close()
    end = time.monotonic() + _CLOSING_SECONDS
    while (left := [one for one in _connections(servers) if waits or _holds(one)]) and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
    for connection in left:
        if _holds(connection):
            connection.abort()


def _connections(servers: list[TheServer]) -> list[Connection]:
    return [connection for server in servers for connection in server.connections]


def _holds(connection: Connection) -> bool:
    if connection.upstream is None:
        return True
    ledgers = (connection.to_upstream, connection.to_client)
    return any(one.read + one.added > one.delivered + one.dropped + one.undeliverable for one in ledgers)
