"""The command between a program and its server, and a server with a framing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import Side
from interpose.framing import Framing
from support.addresses import address_of
from support.callbacks import CloseRecorder
from support.dialogues import Recorder
from support.exchanges import wait_until_idle
from support.proxies import ProxyCommand

Through = Callable[..., ProxyCommand]


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Through]:
    """`through(TARGET)` starts `interpose 127.0.0.1:0 TARGET`; at the end it must leave on SIGTERM with 0."""
    started: list[ProxyCommand] = []
    with ExitStack() as stack:

        def begin(target: str, *options: str, listen: str = "127.0.0.1:0") -> ProxyCommand:
            started.append(stack.enter_context(ProxyCommand(listen, target, tmp_path, *options)))
            return started[-1]

        yield begin
        for proxy in started:
            assert proxy.stop() == 0, proxy.child.output()


def same(_: Side, message: bytes) -> bytes:
    """Answer with the message itself."""
    return message


class Framed:
    """A server whose callback sees each whole message and returns it."""

    def __init__(self, serve: Serve, target: str, made: Framing, is_async: bool, **settings: Any) -> None:
        self._recorder, self._ends = Recorder(answer=same), CloseRecorder()
        on_recv = self._awaited if is_async else self._recorder
        self._server = serve(target, framing=made, on_recv=on_recv, on_close=self._ends, **settings)
        self.host, port = address_of(self._server)
        self.port = str(port)

    async def _awaited(self, side: Side, message: bytes) -> bytes:
        await asyncio.sleep(0)
        answer: bytes = self._recorder(side, message)
        return answer

    def seen(self, *, client: bool) -> list[bytes]:
        """Return the messages of one side until now."""
        return self._recorder.seen[client]

    @property
    def connections(self) -> int:
        """The number of connections that have ended."""
        return len(self._ends.all)

    def finished(self) -> None:
        """Wait for the ends of all connections; nothing may have been changed, nor been no whole message."""
        stats = wait_until_idle(self._server).stats
        assert (stats.callback_errors, self._recorder.partial) == (0, [])
        assert not {"protocol_error", "message_too_long"} & {conn.reason for conn in self._ends.all}
        for conn in self._ends.all:
            for flow in (conn.to_upstream, conn.to_client):
                assert (flow.added, flow.dropped) == (0, 0)


Frame = Callable[..., Framed]


@pytest.fixture(params=["sync", "async"])
def framed(request: pytest.FixtureRequest, serve: Serve) -> Frame:
    """`framed(TARGET, FRAMING)` starts a server with an identity callback, of each kind."""

    def begin(target: str, made: Framing, **settings: Any) -> Framed:
        return Framed(serve, target, made, request.param == "async", **settings)

    return begin
