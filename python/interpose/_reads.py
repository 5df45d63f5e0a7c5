"""Reading what a side sends before it is relayed, in asynchronous callbacks for on_accept and on_connect."""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Coroutine
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

from . import _native
from ._checks import count, seconds
from ._exceptions import (
    ConfigError,
    ConnectionClosedError,
    ReadEndError,
    ReadError,
    ReadLimitError,
    ReadTimeoutError,
    wrong_type,
)
from ._names import SideNames

# The most bytes that are held of a side before they are relayed.
_MOST = 16 * 1024 * 1024
_UNTIL = 64 * 1024

Failure: TypeAlias = tuple[str, int, str]
"""Why a read has failed: a word, a number and a text."""


class Wish(NamedTuple):
    """A read: its word on the native side, the bytes that are wanted, and the seconds that it may take."""

    word: str
    size: int
    delimiter: bytes
    seconds: float | None


class Reader(Protocol):
    """The loop of asynchronous callbacks, as reads need it."""

    @property
    def runs_here(self) -> bool:
        """True in the thread of the loop."""
        ...

    async def read(self, native: _native.Connection, is_client: bool, wish: Wish) -> bytes | Failure:
        """Return what the side has sent, or why it cannot be read."""
        ...


CURRENT: contextvars.ContextVar[weakref.ref[Reader] | None] = contextvars.ContextVar("interpose_reader", default=None)
"""The reader of the calling code: set in asynchronous callbacks, and in tasks that one has made."""


def _reader(name: str) -> Reader:
    """Return the reader of the calling code, or raise ReadError."""
    current = CURRENT.get()
    reader = None if current is None else current()
    if reader is None or not reader.runs_here:
        raise ReadError(
            f"{name}: this is not the loop of an async callback; read in an `async def` on_accept or on_connect, "
            "or see what a client has sent in a plain on_preread"
        )
    return reader


class SideReads(SideNames):
    """The part of a Side that is read."""

    __slots__ = ()

    _client: bool
    _native: _native.Connection

    def peek(self, n: int, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Return the next `n` bytes that this side sends, and leave them to be read again, and to be relayed.

        Wait until they are there; fewer only at the end of the stream. For `async def` on_accept, where the client
        is read, and on_connect, where both sides are. What is not read there is relayed, or comes to on_recv. Being
        cancelled loses no byte. One read of each side at a time.

        Raises ReadTimeoutError after `timeout` seconds, ReadLimitError for more than 16 MiB, ConnectionClosedError
        once the connection has ended, ReadError anywhere else; ArgumentTypeError and ConfigError for arguments.
        """
        return self._ask("peek", "peek_exactly", count("n", n, 1), b"", timeout)

    def read(self, n: int, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Take and return some bytes that this side sends: at least one, `n` at most; `b""` is the end of the stream.

        What is taken is not relayed. All else is as with peek().
        """
        return self._ask("read", "most", count("n", n, 1), b"", timeout)

    def read_exactly(self, n: int, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Take and return the next `n` bytes that this side sends.

        Raises ReadEndError if the stream ends before; all else is as with peek(). After an error the bytes that have
        come stay to be read, or to be relayed.
        """
        return self._ask("read_exactly", "exactly", count("n", n, 0), b"", timeout)

    def read_until(
        self, delimiter: bytes, limit: int = _UNTIL, timeout: float | None = None
    ) -> Coroutine[Any, Any, bytes]:
        r"""Take and return what this side sends up to `delimiter`, with it: `limit` bytes at most.

        Raises ReadLimitError if the delimiter is not among that many, ReadEndError if the stream ends before it; all
        else is as with peek(). After an error the bytes that have come stay to be read, or to be relayed.

        >>> import asyncio, socket
        >>> from interpose import Forward, TheServer
        >>> async def greet(conn):
        ...     name = await conn.client.read_until(b"\n", timeout=5)
        ...     conn.client.send(b"hello " + name)
        ...     return Forward.NOWHERE
        >>> with TheServer("", 0, on_accept=greet) as server:
        ...     with socket.create_connection(server.address) as client:
        ...         client.sendall(b"you\n")
        ...         client.recv(10)
        b'hello you\n'
        """
        given = cast("object", delimiter)
        if not isinstance(given, bytes):
            raise wrong_type("delimiter", given, "bytes", 'write b"\\r\\n"')
        if not given:
            raise ConfigError('delimiter: it is empty; write b"\\r\\n"')
        return self._ask("read_until", "until", count("limit", limit, 1, _MOST), delimiter, timeout)

    def _ask(
        self, name: str, word: str, size: int, delimiter: bytes, timeout: float | None
    ) -> Coroutine[Any, Any, bytes]:
        wish = Wish(word, size, delimiter, None if timeout is None else seconds("timeout", timeout))
        # Here, and not when it is awaited: a plain def awaits nothing.
        _reader(name)
        return self._read(name, wish)

    async def _read(self, name: str, wish: Wish) -> bytes:
        reader = _reader(name)
        result = await reader.read(self._native, self._client, wish)
        if name == "peek" and not isinstance(result, bytes) and result[0] == "end":
            result = await reader.read(self._native, self._client, wish._replace(word="peek_most"))
        if isinstance(result, bytes):
            return result
        raise self._failed(name, wish, result)

    def _failed(self, name: str, wish: Wish, failure: Failure) -> Exception:
        """Return the exception for a read that has failed."""
        word, number, text = failure
        delimiter = wish.delimiter
        match word:
            case "late":
                return ReadTimeoutError(
                    f"{name}: {self!r} has not sent it within {wish.seconds:g} s; give it longer, or answer without"
                )
            case "end":
                what = repr(delimiter) if delimiter else f"{wish.size} bytes"
                if wish.word == "message":
                    what = "the end of a message"
                return ReadEndError(
                    f"{name}: {self!r} has ended its stream after {number} bytes, before {what}; read(n) takes those"
                )
            case "long" if delimiter:
                return ReadLimitError(
                    f"{name}: {self!r} has sent {number} bytes without {delimiter!r}; refuse it, or give a higher limit"
                )
            case "long" if wish.word == "message":
                return ReadLimitError(
                    f"{name}: {self!r} has sent a message of more than {number} bytes; refuse it, or raise max_message"
                )
            case "unframed":
                return ReadError(
                    f"{name}: {self!r} has no framing of the core's; give the server one, such as "
                    "framing=framing.lines(), or use read_until()"
                )
            case "long":
                return ReadLimitError(
                    f"{name}: no more than {number} bytes are held before they are relayed; take parts with read(n)"
                )
            case "busy":
                return ReadError(f"{name}: another read of {self!r} waits; await it first, or cancel it")
            case "closed":
                return self._over(name)
            case _:
                return ReadError(f"{name}: {text}")

    def _over(self, name: str) -> Exception:
        """Return the exception for a side that is not read now."""
        native = self._native
        if native.phase == "closed":
            return ConnectionClosedError(
                f"{name}: connection {native.id} has ended ({native.reason}); look at phase and reason before"
            )
        if not self._client and not native.has_upstream:
            return ReadError(f"{name}: the upstream of connection {native.id} is not there yet; read it in on_connect")
        return ReadError(
            f"{name}: what {self!r} sends comes to on_recv now, or is relayed; read in an `async def` on_accept or "
            "on_connect, before that returns"
        )
