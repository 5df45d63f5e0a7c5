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

    _decide: Callable[[Iterable[Fault], Iterable[int]], None]
    _fault_by_number: dict[int, Fault]
    """The faults in force, and those that a change under way may put in force."""
    _changes_under_way: int
    _faults_lock: AbstractContextManager[Any]

    def _begin_faults(
        self, faults: object, seed: object, decide: Callable[[Iterable[Fault], Iterable[int]], None]
    ) -> tuple[list[_native.Fault], int | None]:
        """Check faults and a seed, and return them for the native side.

        `decide` lets the functions of faults decide for them, and forgets those of the faults with these numbers.
        """
        chosen = faults_or_none(faults)
        self._fault_by_number = {_number(one): one for one in chosen}
        self._changes_under_way, self._faults_lock = 0, ReentrantLock()
        self._decide = decide
        decide(chosen, ())
        return native_faults(chosen), seed_or_none(seed)

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
        native = self._ours()
        with self._faults_lock:
            return tuple(self._known(native.faults))

    @faults.setter
    def faults(self, value: Iterable[Fault]) -> None:
        chosen = faults_or_none(value)
        self._change(lambda _: chosen)

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

        A live connection counts `after_bytes` from its beginning; bytes that another fault holds back just then have
        not passed. Raises ConfigError for one that is in force already, ArgumentTypeError and ForkError.

        >>> from interpose import TheServer, faults
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     server.add_fault(faults.Stall())
        ...     len(server.faults)
        1
        """
        chosen = faults_or_none(faults)

        def added(before: list[Fault]) -> list[Fault]:
            for one in chosen:
                if one in before:
                    raise ConfigError(f"fault: {one!r} is in force already; make another one")
            return [*before, *chosen]

        self._change(added)

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

        def rest(before: list[Fault]) -> list[Fault]:
            for one in chosen:
                if one not in before:
                    raise ConfigError(f"fault: {one!r} is not in force; there are {len(before)}: {before!r}"[:400])
            return [one for one in before if one not in chosen]

        self._change(rest)

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
            self._change(lambda before: [one for one in before if one not in faults])

    def _change(self, change: Callable[[list[Fault]], list[Fault]]) -> None:
        """Put in force what `change` makes of the faults in force.

        Threads change them one after the other. A signal handler may change them within a change of its own thread:
        then that one finds others in force than it has begun with, and begins again.
        """
        native = self._ours()
        with self._faults_lock:
            self._changes_under_way += 1
            try:
                while True:
                    numbers = native.faults
                    chosen = change(self._known(numbers))
                    # A fault's functions are there before its first stage, and until its last is gone.
                    self._fault_by_number.update((_number(one), one) for one in chosen)
                    self._decide(chosen, ())
                    if native.swap_faults(numbers, native_faults(chosen)):
                        return
            finally:
                self._changes_under_way -= 1
                if not self._changes_under_way:
                    self._forget_others(native)

    def _known(self, numbers: Iterable[int]) -> list[Fault]:
        return [self._fault_by_number[number] for number in numbers]

    def _forget_others(self, native: _native.Server) -> None:
        """Forget the faults that are not in force, with their functions."""
        while others := self._fault_by_number.keys() - set(native.faults):
            gone = [one for number in others if (one := self._fault_by_number.pop(number, None)) is not None]
            self._decide((), [_number(one) for one in gone if one._asks()])  # pyright: ignore[reportPrivateUsage]
            # A signal handler may have put one in force again meanwhile.
            again = [one for one in gone if _number(one) in native.faults]
            self._fault_by_number.update((_number(one), one) for one in again)
            self._decide(again, ())


def _number(one: Fault) -> int:
    return one._native.number  # pyright: ignore[reportPrivateUsage]


def put_own_faults(native: _native.Connection, is_client: bool, value: object) -> list[Fault]:
    """Put faults in force for what one side sends, in place of the server's. Return them."""
    from ._native import set_faults

    if not isinstance(value, Iterable) or isinstance(value, str):
        raise wrong_type("faults", value, "a list of faults", "give a list such as [faults.Latency(0.2)]")
    chosen = faults_or_none(list(cast("Iterable[object]", value)))
    for one in chosen:
        if one._asks():  # pyright: ignore[reportPrivateUsage]
            raise ConfigError(f"faults: functions decide for {one!r}, and a side has none; use server.add_fault()")
    set_faults(native, is_client, native_faults(chosen))
    return chosen
