"""The faults of a server, which may change while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from ._checks import count
from ._exceptions import ArgumentTypeError, ConfigError, wrong_type
from ._threads import ReentrantLock

if TYPE_CHECKING:
    from . import _native
    from ._fault import Fault

_MOST_SEED = 2**64 - 1


def faults_or_none(value: object) -> list[Fault]:
    """Return the faults that `value` says, or raise ArgumentTypeError."""
    if value is None or value == () or value == []:
        return []
    from .faults import faults_of

    found = faults_of(value)
    for number, one in enumerate(found):
        if one in found[:number]:
            raise ConfigError(f"faults: {one!r} is there twice; make another one with again()")
    return found


def native_faults(chosen: Iterable[Fault]) -> list[_native.Fault]:
    """Return the native side's twins."""
    return [one._native for one in chosen]  # pyright: ignore[reportPrivateUsage]


def seed_or_none(value: object) -> int | None:
    """Return a seed, or None for one that is drawn, or raise."""
    return None if value is None else count("seed", value, 0, _MOST_SEED)


class Faulting:
    """The part of a server that harms its connections on purpose."""

    if TYPE_CHECKING:

        def _ours(self) -> _native.Server: ...

    _decide: Callable[[Iterable[Fault]], None]
    _faults: list[Fault]
    _faults_lock: AbstractContextManager[Any]

    def _begin_faults(
        self, faults: object, seed: object, decide: Callable[[Iterable[Fault]], None]
    ) -> tuple[list[_native.Fault], int | None]:
        """Check faults and a seed, and return them for the native side."""
        self._faults, self._faults_lock = faults_or_none(faults), ReentrantLock()
        self._decide = decide
        decide(self._faults)
        return native_faults(self._faults), seed_or_none(seed)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force, in their order. Assigned, others are, for live connections as well.

        A fault that stays goes on as it was. Raises ForkError and ArgumentTypeError.

        >>> from interpose import TheServer, faults
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     server.faults = [faults.Latency(0.2)]
        ...     server.faults
        (faults.Latency(delay=0.2),)
        """
        return tuple(self._faults)

    @faults.setter
    def faults(self, value: Iterable[Fault]) -> None:
        self._put(faults_or_none(value))

    @property
    def seed(self) -> int:
        """The seed of what faults draw: the one that was given, or the one that was drawn when the server was made.

        >>> from interpose import TheServer
        >>> TheServer("", 0, "127.0.0.1:7070", seed=7).seed
        7
        """
        return self._ours().seed

    def add_fault(self, *faults: Fault) -> None:
        """Put faults behind those in force, for live connections as well: from their next bytes on.

        A live connection counts `after_bytes` from its beginning; bytes that another fault holds back just then have not
        passed. Raises ConfigError for one that is in force already, ArgumentTypeError and ForkError.

        >>> from interpose import TheServer, faults
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     server.add_fault(faults.Stall())
        ...     len(server.faults)
        1
        """
        chosen = faults_or_none(faults)
        with self._faults_lock:
            for one in chosen:
                if one in self._faults:
                    raise ConfigError(f"fault: {one!r} is in force already; make another one")
            self._put([*self._faults, *chosen], locked=True)

    def remove_fault(self, *faults: Fault) -> None:
        """Take faults away, from live connections as well: what they hold back goes on at once, in order.

        Raises ConfigError for one that is not in force, ArgumentTypeError and ForkError.

        >>> from interpose import TheServer, faults
        >>> stall = faults.Stall()
        >>> with TheServer("", 0, "127.0.0.1:7070", faults=[stall]) as server:
        ...     server.remove_fault(stall)
        ...     server.faults
        ()
        """
        chosen = faults_or_none(faults)
        with self._faults_lock:
            rest = list(self._faults)
            for one in chosen:
                if one not in rest:
                    raise ConfigError(f"fault: {one!r} is not in force; there are {len(rest)}: {rest!r}"[:400])
                rest.remove(one)
            self._put(rest, locked=True)

    @contextmanager
    def fault(self, *faults: Fault) -> Generator[Fault]:
        """Put faults in force for a `with` block; `as` gives the first.

        >>> import socket
        >>> from interpose import TheServer, faults
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     with server.fault(faults.Reset()), socket.create_connection(server.address) as client:
        ...         try:
        ...             client.recv(1)
        ...         except ConnectionResetError:
        ...             print("reset")
        reset
        """
        if not faults:
            raise ArgumentTypeError("fault: none is given; write server.fault(faults.Latency(0.2))")
        self.add_fault(*faults)
        try:
            yield faults[0]
        finally:
            # Those that were taken away within the block are gone already.
            with self._faults_lock:
                self._put([one for one in self._faults if one not in faults], locked=True)

    def _put(self, chosen: list[Fault], *, locked: bool = False) -> None:
        native = self._ours()
        if not locked:
            with self._faults_lock:
                self._put(chosen, locked=True)
            return
        # A fault's functions are there before its first stage, and until its last is gone.
        before = self._faults
        asks = any(one._asks() for one in (*before, *chosen))  # pyright: ignore[reportPrivateUsage]
        if asks:
            self._decide(dict.fromkeys((*before, *chosen)))
        native.set_faults(native_faults(chosen))
        self._faults = chosen
        if asks:
            self._decide(chosen)


def put_own_faults(native: _native.Connection, is_client: bool, value: object) -> list[Fault]:
    """Put faults in force for what one side sends, in place of the server's. Return them."""
    from ._native import set_faults

    if not isinstance(value, Iterable) or isinstance(value, str):
        raise wrong_type("faults", value, "a list of faults", "give a list such as [faults.Latency(0.2)]")
    chosen = faults_or_none(list(cast("Iterable[object]", value)))
    for one in chosen:
        if one._asks():  # pyright: ignore[reportPrivateUsage]
            raise ConfigError(f"faults: functions decide for {one!r}, and a side has none; use server.add_fault()")
    # What these draw follows from the connection and the direction alone.
    set_faults(native, is_client, native_faults(chosen), 0)
    return chosen
