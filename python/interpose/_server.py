"""The server: a listener, and the connections it forwards."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from . import _logging, _native
from ._config import Limits, Timeouts, count, flag, host_text, port_number, seconds
from ._connection import Connection, Stats, stats_of
from ._exceptions import ArgumentTypeError, ConfigError, ForkError, ServerStoppedError, wrong_type
from ._forward import ForwardTo, SocketName, address_text, forward_of, native_forward
from ._waiting import wait_at_most, wait_until_closed

# What stop() may take beyond its drain; the promise is one second.
_GRACE_SECONDS = 0.9

_TIMEOUTS = Timeouts()
_LIMITS = Limits()
_Setting = TypeVar("_Setting")


class TheServer:
    """Forwards every client of a listener to an upstream: every byte, both ways, ends as ends.

    It binds and listens at once, so `address` is known and clients may connect; they are served from
    `main_loop()`, `start()`, `with`, `async with` or `serve_forever()` on.

    * `host`, `port`: where to listen. `""` is 127.0.0.1; port 0 is any free port. Without a port, `host` is a
      whole address: `"9090"`, `"host:9090"`, `"[::1]:9090"`, `"unix:/path"`. An address that every machine can
      reach (`"0.0.0.0"`, `"::"`) is warned about once unless `public=True`.
    * `forward_to`: `(host, port)`, `"host:port"`, `"unix:/path"` or a Forward. None takes the class attribute
      `forward_to`, for subclasses.
    * `timeouts`, `limits`: a Timeouts, a Limits.
    * `backlog`: clients that the kernel may queue before they are accepted.
    * `reuse_port`: let other processes listen on the same port too (SO_REUSEPORT).

    Raises AddressError, ConfigError and ArgumentTypeError for arguments, BindError, BindPermissionError and
    ResolveError when the listener cannot be had.

    >>> from interpose import TheServer
    >>> with TheServer("", 0, forward_to=("example.org", 80)) as server:
    ...     host, port = server.address
    >>> host, port > 0
    ('127.0.0.1', True)
    """

    forward_to: ForwardTo | None = None
    """Where clients are forwarded to: an instance has a Forward; a subclass may set a default."""

    def __init__(
        self,
        host: str = "",
        port: int | None = None,
        forward_to: ForwardTo | None = None,
        *,
        timeouts: Timeouts = _TIMEOUTS,
        limits: Limits = _LIMITS,
        backlog: int = 1024,
        reuse_port: bool = False,
        public: bool = False,
    ) -> None:
        host, port = _listen_address(host, port)
        wanted = self.forward_to if forward_to is None else forward_to
        if wanted is None:
            raise ConfigError("forward_to: it is missing; give it as the third argument or as a class attribute")
        forward = forward_of(wanted)
        timeouts = _instance("timeouts", timeouts, Timeouts)
        limits = _instance("limits", limits, Limits)
        backlog = count("backlog", backlog, 1)
        reuse_port = flag("reuse_port", reuse_port)
        public = flag("public", public)
        self._pid = os.getpid()
        self.forward_to = forward
        self._native = _native.Server(
            host,
            port,
            native_forward(forward),
            half_close=timeouts.half_close,
            idle=timeouts.idle,
            unacknowledged=timeouts.unacknowledged,
            max_connections=limits.max_connections,
            backlog=backlog,
            reuse_port=reuse_port,
        )
        if not public:
            _warn_if_public(self._native.address)

    @property
    def address(self) -> SocketName:
        """Where it really listens: `(host, port)`, or `"unix:/path"`. Raises ForkError."""
        return self._ours().address

    @property
    def connections(self) -> list[Connection]:
        """The connections that live now. Raises ForkError.

        >>> from interpose import TheServer
        >>> with TheServer("", 0, "example.org:80") as server:
        ...     server.connections
        []
        """
        return [Connection(native, self._pid) for native in self._ours().connections()]

    @property
    def stats(self) -> Stats:
        """What it has done so far; also after the stop. Raises ForkError.

        >>> from interpose import TheServer
        >>> with TheServer("", 0, "example.org:80") as server:
        ...     server.stats.active
        0
        """
        return stats_of(self._ours().stats())

    def main_loop(self) -> None:
        """Serve in the calling thread until stop() is called elsewhere.

        Ctrl-C raises KeyboardInterrupt here within 100 ms, and any exception of a signal handler does alike:
        everything is closed and reset by then. Raises ServerStoppedError, ForkError, RuntimeStartError.

        >>> import threading
        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80")
        >>> threading.Timer(0.05, server.stop).start()
        >>> server.main_loop()
        """
        native = self._ours()
        try:
            self.start()
            wait_until_closed(native)
        except ServerStoppedError:
            raise
        except BaseException:
            self._abort(native)
            raise

    def start(self) -> Self:
        """Serve in the background, and return the server. A second call does nothing.

        Raises ServerStoppedError, ForkError, RuntimeStartError.

        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80").start()
        >>> server.stop()
        """
        native = self._ours()
        if native.stopping or native.is_closed:
            raise ServerStoppedError("server: it was stopped; make a new TheServer")
        _logging.start()
        native.start()
        return self

    def stop(self, drain: float = 5.0) -> None:
        """Accept no more, let connections finish for `drain` seconds, reset the rest; return when all is closed.

        It always returns, within `drain` seconds and one more. It may be called at any time, from any thread
        and from a signal handler, and more than once; the shortest drain wins. On an event loop's thread it
        blocks the loop: leave `async with` instead. In a signal handler it holds up the handlers of signals that
        came together with that one: give a short drain there. Ctrl-C cuts the drain short.
        Raises ForkError, and for `drain` ArgumentTypeError and ConfigError.

        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80").start()
        >>> server.stop(drain=0.5)
        >>> server.stop()
        """
        native = self._ours()
        allowed = seconds("drain", drain, zero=True)
        native.stop(allowed)
        try:
            wait_at_most(native, allowed + _GRACE_SECONDS)
        except BaseException:
            self._abort(native)
            raise

    async def serve_forever(self) -> None:
        """Serve until stop() is called elsewhere. Being cancelled resets everything and raises CancelledError.

        Raises ServerStoppedError, ForkError, RuntimeStartError.

        >>> import asyncio
        >>> from interpose import TheServer
        >>> async def main():
        ...     async with asyncio.timeout(0.05):
        ...         await TheServer("", 0, "example.org:80").serve_forever()
        >>> try:
        ...     asyncio.run(main())
        ... except TimeoutError:
        ...     print("served for 50 ms")
        served for 50 ms
        """
        native = self._ours()
        self.start()
        try:
            await native.closed()
        except GeneratorExit:
            native.stop(0.0)
            raise
        except BaseException:
            await self._stop_async(0.0)
            raise

    async def wait_closed(self) -> None:
        """Wait until the server is stopped and its last connection is closed. Raises ForkError.

        >>> import asyncio
        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80")
        >>> server.stop()
        >>> asyncio.run(server.wait_closed())
        """
        await self._ours().closed()

    def __enter__(self) -> Self:
        """Serve in the background."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop with the default drain; after an exception at once. In a forked child do nothing."""
        if os.getpid() != self._pid:
            return
        if kind is None:
            self.stop()
        else:
            self.stop(0.0)

    async def __aenter__(self) -> Self:
        """Serve in the background."""
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop with a drain of 5 seconds, without blocking the loop; after an exception at once."""
        if os.getpid() == self._pid:
            await self._stop_async(5.0 if kind is None else 0.0)

    def __repr__(self) -> str:
        if os.getpid() != self._pid:
            return "<TheServer of a parent process>"
        native = self._native
        state = "started" if native.started else "listening"
        if native.stopping:
            state = "stopping"
        if native.is_closed:
            state = "closed"
        target = address_text(native_forward(forward_of(self.forward_to)).address)
        return f"<TheServer {address_text(native.address)} -> {target}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "server: it cannot be pickled or copied, it holds a socket; make a TheServer in the other place"
        )

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            if name == "forward_to" and "_native" in self.__dict__:
                raise AttributeError("forward_to: it is fixed once the server listens; make a new TheServer")
            object.__setattr__(self, name, value)

    def __del__(self) -> None:
        if "_native" not in self.__dict__ or sys.is_finalizing() or os.getpid() != self._pid:
            return
        native = self._native
        if native.stopping or native.is_closed:
            return
        text = f"unstopped {self!r}; call stop() or use with" if native.started else ""
        native.stop(0.0)
        if text:
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    def _ours(self) -> _native.Server:
        """Return the native server, in the process that made it."""
        if os.getpid() != self._pid:
            raise ForkError(
                "server: it belongs to the process this one was forked from; make a new TheServer here, or use spawn"
            )
        return self._native

    @staticmethod
    def _abort(native: _native.Server) -> None:
        native.stop(0.0)
        wait_at_most(native, _GRACE_SECONDS)

    async def _stop_async(self, drain: float) -> None:
        import asyncio

        native = self._ours()
        native.stop(drain)
        try:
            async with asyncio.timeout(drain + _GRACE_SECONDS):
                await native.closed()
        except TimeoutError:
            return
        except BaseException:
            native.stop(0.0)
            raise


def _listen_address(host: object, port: object) -> tuple[str, int | None]:
    text = host_text("host", host)
    if port is None:
        if not text:
            raise ConfigError('port: it is missing; write TheServer("", 9090, ...), or 0 for any free port')
        return text, None
    number = port_number(port)
    if text.startswith("unix:"):
        raise ConfigError("port: a Unix socket has none; leave it out")
    return text or "127.0.0.1", number


def _instance(name: str, value: object, kind: type[_Setting]) -> _Setting:
    if not isinstance(value, kind):
        raise wrong_type(name, value, f"a {kind.__name__}", f"write {kind.__name__}(...)")
    return value


def _warn_if_public(address: SocketName) -> None:
    if address[0] in ("0.0.0.0", "::"):
        logging.getLogger("interpose.listener").warning(
            "listener %s: every machine that can reach this one may connect; "
            "listen on 127.0.0.1, or say that it is meant to be public",
            address_text(address),
        )
