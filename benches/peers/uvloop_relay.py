"""A relay as one writes it for speed in Python: asyncio protocols on uvloop, with backpressure.

`python uvloop_relay.py PORT TARGET_PORT [callback|async|lines|twice]`, both on 127.0.0.1; `callback` calls an identity
function on every chunk, `async` awaits one in a task of its own, `lines` and `twice` call one that returns its head and
its body, written with writelines() or one by one.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import uvloop

# Bytes in a message's head, whether the message has 64 bytes or many.
HEAD = 16

Callback = Callable[["End", bytes], bytes]


def identity(_: "End", data: bytes) -> bytes:
    return data


def parts(_: "End", data: bytes) -> list[bytes]:
    return [data[:HEAD], data[HEAD:]]


class End(asyncio.Protocol):
    """One side of a connection."""

    def __init__(self, callback: Callback | None, other: "End | None" = None) -> None:
        self.callback = callback
        self.other: End | None = other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.callback is not None:
            data = self.callback(self, data)
        other = self.other
        if other is not None and other.transport is not None:
            other.transport.write(data)

    def eof_received(self) -> bool:
        other = self.other
        if other is not None and other.transport is not None and other.transport.can_write_eof():
            other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        other, self.other = self.other, None
        if other is not None and other.transport is not None:
            other.transport.abort() if exc else other.transport.close()


class Parts(End):
    """How an End writes an answer that has two parts."""

    def in_lines(self, data: bytes) -> None:
        other = self.other
        if other is not None and other.transport is not None:
            other.transport.writelines(parts(self, data))

    def one_by_one(self, data: bytes) -> None:
        other = self.other
        if other is not None and other.transport is not None:
            for part in parts(self, data):
                other.transport.write(part)


async def identity_later(_: End, data: bytes) -> bytes:
    return data


class Tasks(End):
    """How an End awaits a function for each chunk."""

    def in_a_task(self, data: bytes) -> None:
        asyncio.get_running_loop().create_task(Tasks.answer(self, data))

    async def answer(self, data: bytes) -> None:
        data = await identity_later(self, data)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)


class Client(End):
    """The client's side, which has the upstream connected."""

    def __init__(self, callback: Callback | None, target: int) -> None:
        super().__init__(callback)
        self.target = target
        # uvloop begins to read whatever was paused before.
        self.early: list[bytes] = []
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self.connecting = asyncio.get_running_loop().create_task(self.connect())

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            super().data_received(data)

    async def connect(self) -> None:
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_connection(lambda: End(self.callback, self), "127.0.0.1", self.target)
        except OSError:
            self.transport.abort()
            return
        self.other = upstream
        for data in self.early:
            super().data_received(data)
        self.early.clear()
        self.transport.resume_reading()


async def main(port: int, target: int, callback: Callback | None) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Client(callback, target), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    match sys.argv[3:]:
        case ["lines"]:
            End.data_received = Parts.in_lines  # type: ignore[method-assign, assignment]
        case ["async"]:
            End.data_received = Tasks.in_a_task  # type: ignore[method-assign, assignment]
        case ["twice"]:
            End.data_received = Parts.one_by_one  # type: ignore[method-assign, assignment]
        case _:
            pass
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), identity if sys.argv[3:] == ["callback"] else None))
