"""The actions of a fault of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, cast

from ._checks import seconds as duration
from ._exceptions import ArgumentTypeError, ConfigError, wrong_type
from ._fault import Fault
from ._names import nearest, no_such, table

if TYPE_CHECKING:
    from ._native import Fault as NativeFault

_MOST = 4096
_NAMES = table(
    {
        "send()": "write sendall forward replace emit push",
        "drop()": "discard skip swallow",
        "wait()": "sleep delay pause",
        "begin()": "start fault add apply",
        "reset()": "abort rst kill",
        "close()": "cut end fin disconnect",
        "half_close()": "shutdown eof",
        "stall()": "hang freeze block",
    }
)


class Actions:
    """The actions of a fault on a message, carried out in their order when `on_data` has returned.

    Without send() and drop() the message goes on, behind the actions. Each raises ConfigError once `on_data` has
    returned, and beyond 4,096 actions for one message.

    >>> from interpose import faults
    >>> class Doubled(faults.Scripted):
    ...     def on_data(self, side, data, actions):
    ...         actions.send(data, data)
    >>> Doubled()
    faults.Doubled()
    """

    __slots__ = ("_is_over", "_replaces", "_taken")

    def __init__(self) -> None:
        self._taken: list[bytes | float | NativeFault | None] = []
        self._replaces = self._is_over = False

    def send(self, *data: object) -> None:
        """Send these bytes in place of the message; text is sent as UTF-8. Raises ArgumentTypeError."""
        for one in data:
            if isinstance(one, str):
                self._add(one.encode())
            elif isinstance(one, (bytes, bytearray, memoryview)):
                self._add(bytes(cast("bytes", one)))
            else:
                raise wrong_type("actions.send", one, "bytes", "give bytes, such as b'...'")
        self._replaces = True

    def drop(self) -> None:
        """Let nothing of the message go on."""
        self._open()
        self._replaces = True

    def wait(self, seconds: float) -> None:
        """Let everything that follows come later by `seconds`: other actions, the message, later messages, the end."""
        self._add(duration("seconds", seconds, zero=True))

    def begin(self, fault: object) -> None:
        """Begin the effect of another fault for everything that follows in this direction. Its conditions do not count.

        It takes the place of an effect that was begun before. Raises ArgumentTypeError and ConfigError.
        """
        if not isinstance(fault, Fault):
            raise wrong_type("actions.begin", fault, "a fault", "write actions.begin(faults.Latency(0.2))")
        if not fault._begins:  # pyright: ignore[reportPrivateUsage]
            raise ConfigError(f"actions.begin: {fault!r} does not act on the bytes of a direction; give one that does")
        self._add(fault._native)  # pyright: ignore[reportPrivateUsage]

    def reset(self) -> None:
        """Reset the connection, both ways, behind what was sent."""
        self._effect("cut", "reset")

    def close(self) -> None:
        """End the connection in order, both ways, behind what was sent."""
        self._effect("cut", "fin")

    def half_close(self) -> None:
        """End this direction in order; the other stays open."""
        self._effect("half_close", "")

    def stall(self) -> None:
        """Read and write nothing more in this direction."""
        self._effect("stall", "")

    def blackhole(self) -> None:
        """Read everything that follows, and pass on nothing."""
        self._effect("blackhole", "")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            public = [one for one in dir(type(self)) if not one.startswith("_")]
            meant = None if name.startswith("_") else nearest(name, public, _NAMES)
            raise AttributeError(no_such(name, "'Actions' object", meant))

    def _effect(self, kind: str, word: str) -> None:
        from ._native import Fault as NativeFault

        nothing = ((0.0, 0.0), (0, 0), list[float]())
        name = f"actions.{word or kind}()".replace("fin", "close")
        self._add(NativeFault(name, (kind, word), nothing, (1.0, 0, None, None, None), ((True, True), (False, False))))

    def _open(self) -> None:
        if self._is_over:
            raise ConfigError("actions: on_data has returned, and its actions are under way; act within it")

    def _add(self, action: bytes | float | NativeFault) -> None:
        self._open()
        if len(self._taken) >= _MOST:
            raise ConfigError(f"actions: there are {_MOST} for one message already; join what is sent")
        self._taken.append(action)

    def _end(self, answer: object) -> list[bytes | float | NativeFault | None] | None:
        """Return the actions, None for none. `answer` is what `on_data` has returned."""
        self._is_over = True
        if answer is not None:
            wanted = "actions.send(...)" if isinstance(answer, (bytes, str)) else "the methods of actions"
            returned = type(answer).__name__
            raise ArgumentTypeError(f"on_data: it has returned {returned}, which means nothing; use {wanted}")
        if not self._taken and not self._replaces:
            return None
        return self._taken if self._replaces else [*self._taken, None]
