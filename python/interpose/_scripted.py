"""Faults that are written in Python."""

from __future__ import annotations

from typing import Any, Self, Unpack

from ._actions import Actions
from ._coroutine_functions import is_async
from ._exceptions import ArgumentTypeError
from ._fault import WHEN, Fault, When
from ._fault_names import FAULT_ARGUMENTS
from ._names import names_checked


class Scripted(Fault):
    """A fault of one's own: a subclass whose `on_data` decides about each message, or each read without a framing.

    `on_data` runs where plain callbacks do, behind them, and so for what they let through. The conditions of all faults
    hold: it is called where the fault would strike, and strikes if it acts. An exception in it counts as one of a
    callback. One object serves all connections of its server: `side.connection.id` tells them apart.

    >>> import socket
    >>> from interpose import TheServer, faults
    >>> class Shouting(faults.Scripted):
    ...     def on_data(self, side, data, actions):
    ...         actions.send(data.upper())
    >>> with TheServer("", 0, "127.0.0.1:7070", faults=[Shouting(direction="to_client")]) as server:
    ...     with socket.create_connection(server.address) as client:
    ...         client.sendall(b"hello")
    ...         client.recv(5)
    b'HELLO'
    """

    __slots__ = ("__dict__", "_given")

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Make one that works, even if the subclass's own `__init__` does not call this one's."""
        self = super().__new__(cls)
        self._given = (arguments, keywords)
        if cls is Scripted:
            raise ArgumentTypeError("Scripted: derive a class with on_data(self, side, data, actions) from it")
        if cls.on_data is Scripted.on_data:
            other = next((name for name in vars(cls) if name.startswith("on")), None)
            advice = f"is it meant by {other}?" if other else "write on_data(self, side, data, actions)"
            raise ArgumentTypeError(f"{cls.__name__}: it has no on_data, so it would do nothing; {advice}")
        if is_async(cls.on_data):
            raise ArgumentTypeError("on_data: it is async def, and bytes would wait for it; write a plain function")
        self._made("own", {})
        return self

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("own", when)

    def on_data(self, side: Any, data: bytes, actions: Actions) -> None:
        """Decide what becomes of `data`, which `side` has sent, by the methods of `actions`. Without any it goes on."""

    def again(self) -> Self:
        """Return another fault, made with the same arguments, and without what this one has remembered."""
        arguments, keywords = self._given
        return type(self)(*arguments, **keywords)

    @property
    def _begins(self) -> bool:
        return False

    def _asks(self) -> bool:
        return True

    def _decide(self, question: int, subject: Any, data: bytes | None) -> object:
        if question != 2 or data is None:
            return super()._decide(question, subject, data)
        actions = Actions()
        return actions._end(self.on_data(subject, data, actions))  # type: ignore[func-returns-value]  # pyright: ignore[reportPrivateUsage]
