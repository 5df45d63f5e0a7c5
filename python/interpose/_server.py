"""The server: a listener, and the connections it forwards."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, Unpack

from . import _logging, _native
from ._addresses import address_text, host_port, listen_address, unix_path, warn_if_public
from ._by_name import TlsFor, treatment_of
from ._checks import flag, instance, seconds
from ._connection import Connection
from ._ending import Ending, check_loop
from ._exceptions import ArgumentTypeError, LaneError, RuntimeStartError, ServerStoppedError
from ._faulting import Faulting
from ._filter_list import filters_or_none, native_filters
from ._forward import Forward, ForwardTo, mirror_of, target_of
from ._framing_pair import FramingFor, framings_of
from ._groups import Callbacks, Limits, Listen, Relay, Timeouts, native_config
from ._hook_answers import OnAccept, OnClientHello, OnConnection, OnEof, OnPreread, OnRecv
from ._hook_decorators import callbacks_of
from ._hook_methods import HookMethods, warn_of_slips
from ._hooks import HOOKS
from ._listening import Listening, state_of
from ._live_settings import LiveSettings, Settable, is_fixed, is_live, native_or_none
from ._names import LOOP_ARGUMENTS, SERVER_ARGUMENTS, STOP_ARGUMENTS, ServerNames, names_checked
from ._old_keywords import OLD_KEYWORDS, OldKeywords, group_of
from ._shadowable import shadowable
from ._signals import handled_signals
from ._stats import Stats, stats_of
from ._tutorial import Tutorial, TutorialAttributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .faults import Fault
    from .filters import Filter

_TIMEOUTS, _LIMITS, _RELAY, _LISTEN, _CALLBACKS = Timeouts(), Limits(), Relay(), Listen(), Callbacks()


class TheServer(Listening, Faulting, Ending, TutorialAttributes, HookMethods, Settable, ServerNames):
    """Forwards every client of a listener to an upstream: every byte, both ways, ends as ends.

    It binds and listens at once, so `address` is known and clients may connect; they are served from
    `main_loop()`, `start()`, `with`, `async with` or `serve_forever()` on.

    * `host`, `port`: where to listen. `""` is 127.0.0.1, `"localhost"` is that and ::1; port 0 is any free port.
      Without a port, `host` is a whole address: `"9090"`, `"host:9090"`, `"[::1]:9090"`, `"unix:/path"`. An address
      that every machine can reach (`"0.0.0.0"`, `"::"`) is warned about once without `Listen(public=True)`.
    * `forward_to`: `(host, port)`, `"host:port"`, `"unix:/path"` or a Forward. None takes the class attribute
      `forward_to`, for subclasses; without that, `on_accept` or `on_preread` has to say where each client goes.
    * `mirror_to`: a second target, which gets a copy of what clients send and holds up nothing; `stats` counts misses.
    * `on_accept` to `on_close`: callbacks, for the hooks of these names. They may be assigned and deleted while it
      runs as well (`server.on_recv = f`), or be methods of a subclass; HookMethods has their arguments and answers.
    * `timeouts`, `limits`, `relay`, `listen`, `callbacks`: a Timeouts, a Limits, a Relay, a Listen, a Callbacks. The
      keywords that these took the place of (`backlog`, `callback_errors` and so on) are accepted for one more release.
    * `framing`: a Framing for both directions, or a pair `(of_client, of_upstream)`: `on_recv` gets whole messages.
    * `filters`: native stages that watch or change what passes, in order. None takes the class attribute.
    * `faults`: what harms connections, such as `[faults.Latency(0.2)]`; `seed` fixes what they draw.
    * `tls`: a Tls, to decrypt what clients say; an Intercept, to look inside; a ByName, to route by name; or `"auto"`.
    * `drain`: seconds for busy connections to go on when `with` is left, or stop() is called without a drain.

    Raises AddressError, ConfigError and ArgumentTypeError for arguments, BindError, BindPermissionError and
    ResolveError when the listener cannot be had.

    >>> from interpose import TheServer
    >>> with TheServer("", 0, forward_to=("example.org", 80)) as server:
    ...     host, port = server.address
    >>> host, port > 0
    ('127.0.0.1', True)
    """

    @names_checked(SERVER_ARGUMENTS, OLD_KEYWORDS)
    def __init__(
        self,
        host: str = "",
        port: int | None = None,
        forward_to: ForwardTo | None = None,
        *,
        on_accept: OnAccept | None = None,
        on_client_hello: OnClientHello | None = None,
        on_preread: OnPreread | None = None,
        on_connect: OnConnection | None = None,
        on_recv: OnRecv | None = None,
        on_client_recv: OnRecv | None = None,
        on_upstream_recv: OnRecv | None = None,
        on_eof: OnEof | None = None,
        on_close: OnConnection | None = None,
        mirror_to: ForwardTo | None = None,
        timeouts: Timeouts = _TIMEOUTS,
        limits: Limits = _LIMITS,
        relay: Relay = _RELAY,
        listen: Listen = _LISTEN,
        callbacks: Callbacks = _CALLBACKS,
        framing: FramingFor = None,
        filters: Sequence[Filter] | None = None,
        faults: Sequence[Fault] = (),
        seed: int | None = None,
        tls: TlsFor = None,
        drain: float = 5.0,
        **old: Unpack[OldKeywords],
    ) -> None:
        early = (on_accept, on_client_hello, on_preread, on_connect)
        given = (*early, on_recv, on_client_recv, on_upstream_recv, on_eof, on_close)
        held = self._callbacks = callbacks_of(self)
        held.take(zip(HOOKS, given, strict=True), tls)
        timeouts, limits = instance("timeouts", timeouts, Timeouts), instance("limits", limits, Limits)
        relay, listen = group_of("relay", relay, Relay, old), group_of("listen", listen, Listen, old)
        callbacks = group_of("callbacks", callbacks, Callbacks, old)
        size = self.buffer_size if relay.buffer_size is None else relay.buffer_size
        relay = replace(relay, buffer_size=size)
        host, port = listen_address(host, port)
        forward = target_of(self.forward_to if forward_to is None else forward_to, is_needed=not held.decides)
        self.framing = self.framing if framing is None else framing
        framings = framings_of(self.framing, relay, inherited=type(self).framing, tls=tls)
        held.prepare(Tutorial(self, held, callbacks), callbacks, relay.buffer, framings)
        warn_of_slips(type(self))
        self._drain, self._pid = seconds("drain", drain, zero=True), os.getpid()
        mirror = mirror_of(self.mirror_to if mirror_to is None else mirror_to, forward)
        chosen = filters_or_none(self.filters if filters is None else filters)
        config = native_config(timeouts, limits, relay, listen, callbacks)
        stages = (native_filters(chosen), *self._begin_faults(faults, seed, held.decide))
        beside = (native_or_none(mirror), *treatment_of(tls, is_asked=held.of("on_client_hello") is not None))
        native = _native.Server((host, port), native_or_none(forward), config, beside, stages)
        self._live = LiveSettings(self, native, (forward, mirror), timeouts, limits, chosen)
        self.buffer_size, self._native = size, native
        held.connect(native, callbacks.threads)
        if not listen.public:
            warn_if_public(native.address)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            if "_native" in self.__dict__:
                if is_fixed(name, value):
                    raise AttributeError(f"{name}: it is fixed once the server listens; make a new TheServer")
                form = self._callbacks.form
                if is_live(name, value, is_free=form is not None and form.is_used):
                    self._live.change(self, self._callbacks, name, value)
                    return
            super().__setattr__(name, value)

    @property
    def _table(self) -> _native.Callbacks:
        """The native side's table of callbacks: which of them it calls."""
        return self._callbacks.table

    @shadowable
    def address(self) -> tuple[str, int]:
        """Where it really listens: `(host, port)`; where `unix_path` is not None, `"unix:/path"`. Raises ForkError."""
        return host_port(self._ours().address)

    @shadowable
    def unix_path(self) -> str | None:
        """The path of the Unix socket that it listens on, or `"@name"`; None for `(host, port)`. Raises ForkError."""
        return unix_path(self._ours().address)

    @shadowable
    def connections(self) -> list[Connection]:
        """The connections that live now. Raises ForkError.

        >>> from interpose import TheServer
        >>> with TheServer("", 0, "example.org:80") as server:
        ...     server.connections
        []
        """
        held, natives = self._callbacks, self._ours().connections()
        return held.known.live(natives, waits=held.table.wants_close)

    @shadowable
    def stats(self) -> Stats:
        """The counters of the server, so far; also after the stop. Raises ForkError.

        >>> from interpose import TheServer
        >>> with TheServer("", 0, "example.org:80") as server:
        ...     server.stats.active
        0
        """
        return stats_of(self._ours().stats())

    @names_checked(LOOP_ARGUMENTS)
    def main_loop(self, *, handle_signals: bool = False) -> None:
        """Serve in the calling thread until stop() is called elsewhere. Callbacks run in this thread.

        With `handle_signals`, SIGINT, SIGTERM and SIGHUP end it in order: the first stops the server with its `drain`,
        the second at once, and main_loop() returns. A SIGHUP that is ignored, as nohup has it, stays so. The
        handlers that were there before come back at the end. ConfigError outside the main thread.

        Ctrl-C raises KeyboardInterrupt here within 100 ms, and so does SystemExit of a signal handler or a callback:
        everything is closed and reset by then. Any other exception of a signal handler comes out here as well, but
        while a callback runs it is that callback's error; so end with SystemExit or stop(). With
        `Callbacks(errors="raise")` the first exception of a callback ends it, and comes out here. Raises
        ServerStoppedError, ForkError, RuntimeStartError (nothing was started, and it may be tried again), and LaneError
        in a thread that runs callbacks of another server.

        >>> import threading
        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80")
        >>> threading.Timer(0.2, server.stop).start()
        >>> server.main_loop()
        """
        handling = flag("handle_signals", handle_signals)
        native = self._startable()
        with handled_signals(native, self._drain if handling else None):
            try:
                self._callbacks.lanes.run_here()
            except (LaneError, RuntimeStartError):
                # Nothing was started, and it may be tried again.
                self._callbacks.reports.ends = None
                raise
            except BaseException as error:
                self._abort(native)
                self._raise_ended(error)
                raise
            _logging.flush()
            self._raise_ended(None)

    def start(self) -> Self:
        """Serve in the background, and return the server. A second call does nothing.

        Callbacks run in a thread that is made for them. Raises ServerStoppedError, ForkError, and RuntimeStartError:
        then nothing was started, and it may be tried again.

        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80").start()
        >>> server.stop()
        """
        self._startable()
        self._callbacks.lanes.start()
        return self

    @names_checked(STOP_ARGUMENTS)
    def stop(self, drain: float | None = None) -> None:
        """Accept no more, let connections finish, reset the rest; return when all is closed.

        With `drain`, they have as many seconds for it, also those in which nothing is under way. Without, those are
        closed in order at once, as when `with` is left, and the others have the seconds of the server's `drain`.

        It always returns, within the drain and one second more. It may be called at any time, from any thread
        and from a signal handler, and more than once; the shortest drain wins. On an event loop's thread it
        blocks the loop: leave `async with` instead. In a signal handler it holds up the handlers of signals that
        came together with that one: give a short drain there. Ctrl-C cuts the drain short. In a callback
        it returns at once, and the server stops. What happened before it is in the log when it returns.
        Raises ForkError, and for `drain` ArgumentTypeError and ConfigError; with `Callbacks(errors="raise")` what
        callbacks have raised, once, unless a main loop is there to raise it.

        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80").start()
        >>> server.stop()
        >>> server.stop(drain=0.5)
        """
        leave = drain is None
        ended = self._end(self._drain if drain is None else seconds("drain", drain, zero=True), leave=leave)
        if ended and self._callbacks.reports.ends is None:
            self._raise_failed(None)

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
        self._callbacks.bridge.offer(check_loop("await server.serve_forever()"))
        # Of the class: a script may have an attribute of that name.
        type(self).start(self)
        self._callbacks.reports.ends = native
        try:
            await self._closed(native)
        except GeneratorExit:
            native.stop(0.0)
            raise
        except BaseException as error:
            await self._stop_async(0.0)
            self._raise_ended(error)
            raise
        await _logging.flush_async()
        self._raise_ended(None)

    async def wait_closed(self) -> None:
        """Wait until the server is stopped and its last connection is closed. Raises ForkError.

        >>> import asyncio
        >>> from interpose import TheServer
        >>> server = TheServer("", 0, "example.org:80")
        >>> server.stop()
        >>> asyncio.run(server.wait_closed())
        """
        native = self._ours()
        check_loop("await server.wait_closed()")
        await self._closed(native)
        await _logging.flush_async()

    def __enter__(self) -> Self:
        """Serve in the background."""
        native = self._ours()
        try:
            return type(self).start(self)
        except BaseException:
            # A signal's exception came when it had started: nobody else would stop it.
            if native.started and not native.stopping:
                self._abort(native)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop with the default drain; after an exception at once. Raise what a callback has raised to end the server.

        An exception that is on its way already gets a note about it. In a forked child do nothing.
        """
        if os.getpid() != self._pid:
            return
        self._end(0.0 if kind else self._drain)
        self._raise_ended(error)

    async def __aenter__(self) -> Self:
        """Serve in the background. Raises RuntimeStartError under a loop that is not asyncio's."""
        self._callbacks.bridge.offer(check_loop("async with server"))
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop with the default drain, without blocking the loop; after an exception at once.

        Raise what a callback has raised, as `with` does.
        """
        if os.getpid() == self._pid:
            await self._stop_async(self._drain if kind is None else 0.0)
            self._raise_failed(error)

    def __repr__(self) -> str:
        if "_native" not in self.__dict__:
            return f"<{type(self).__name__} that was not made>"
        if os.getpid() != self._pid:
            return "<TheServer of a parent process>"
        native = self._native
        forward = self.forward_to
        target = address_text(forward.address) if isinstance(forward, Forward) else "where on_accept says"
        return f"<TheServer {address_text(native.address)} -> {target}, {state_of(native)}>"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "server: it cannot be pickled or copied, it holds a socket; make a TheServer in the other place"
        )

    def _startable(self) -> _native.Server:
        native = self._ours()
        if native.stopping or native.is_closed:
            raise ServerStoppedError("server: it was stopped; make a new TheServer")
        _logging.start()
        self._callbacks.follow_patches()
        return native

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
