"""`Callbacks(inspect_limit=...)`: callbacks see the first bytes of each direction, and the rest is relayed natively."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from conftest import Serve
from interpose import Callbacks, CloseReason, ConfigError, Relay, Side, framing
from support.addresses import address_of
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo, connect
from support.peers import echo as echoed
from support.tutorial_scripts import OnlyRecv

Seen = list[tuple[bool, bytes]]


def looking(seen: Seen, kind: str) -> Any:
    """Return a callback of this kind that writes down what it is shown, and sends it on in capitals."""

    def on_recv(side: Side, data: bytes) -> bytes:
        seen.append((side.is_client, data))
        return data.upper()

    async def on_recv_later(side: Side, data: bytes) -> bytes:
        return on_recv(side, data)

    return on_recv_later if kind == "async def" else on_recv


KINDS = pytest.mark.parametrize("kind", ["def", "async def"])


@KINDS
def test_the_chunk_in_which_the_limit_is_reached_is_the_last_that_is_shown(kind: str, echo: Echo, serve: Serve) -> None:
    seen: Seen = []
    server = serve(echo.address, on_recv=looking(seen, kind), callbacks=Callbacks(inspect_limit=6))
    with connect(address_of(server)) as client:
        assert echoed(client, b"seen") == b"SEEN"
        assert echoed(client, b"as well") == b"AS WELL"
        assert echoed(client, b"not seen") == b"not seen"
    both = [(False, data.upper()) for data in (b"seen", b"as well")]
    assert [one for one in seen if one[0]] == [(True, b"seen"), (True, b"as well")]
    assert [one for one in seen if not one[0]] == both
    with connect(address_of(server)) as client:
        assert echoed(client, b"each connection by itself") == b"EACH CONNECTION BY ITSELF"


@KINDS
def test_no_byte_is_lost_at_the_limit(kind: str, echo: Echo, serve: Serve) -> None:
    seen: Seen = []
    callback = looking(seen, kind)
    server = serve(
        echo.address, on_client_recv=callback, callbacks=Callbacks(inspect_limit=100_000), relay=Relay(buffer_size=1000)
    )
    data = random.randbytes(3_000_000)
    how, back = exchange(server, data)
    shown = b"".join(one for _, one in seen)
    assert 100_000 <= len(shown) < 101_000
    assert (how, back) == ("eof", shown.upper() + data[len(shown) :])
    poll(lambda: server.stats.closed[CloseReason.FINISHED] == 1, 10.0, "it ended")


@KINDS
def test_the_message_in_which_the_limit_is_reached_is_the_last_that_is_shown(
    kind: str, echo: Echo, serve: Serve
) -> None:
    seen: Seen = []
    callback, limit = looking(seen, kind), Callbacks(inspect_limit=6)
    server = serve(echo.address, on_client_recv=callback, callbacks=limit, framing=framing.lines())
    how, back = exchange(server, b"one\ntwo\nthree\nand the rest")
    assert (how, back) == ("eof", b"ONE\nTWO\nthree\nand the rest")
    assert seen == [(True, b"one\n"), (True, b"two\n")]


def test_behind_the_limit_a_connection_flows_while_its_lane_is_stuck(echo: Echo, serve: Serve) -> None:
    stuck, let_go = threading.Event(), threading.Event()

    def on_recv(side: Side, data: bytes) -> None:
        if data == b"stick":
            stuck.set()
            let_go.wait(30.0)

    server = serve(echo.address, on_recv=on_recv, callbacks=Callbacks(inspect_limit=1))
    try:
        with connect(address_of(server)) as client, connect(address_of(server)) as other:
            for _ in range(2):
                assert echoed(client, b"go") == b"go"
            other.sendall(b"stick")
            assert stuck.wait(10.0)
            for _ in range(50):
                assert echoed(client, b"flows") == b"flows"
            let_go.set()
            assert other.recv(5) == b"stick"
    finally:
        let_go.set()


def test_methods_of_the_tutorials_form_are_called_up_to_the_limit(echo: Echo) -> None:
    class Upper(OnlyRecv):
        def on_recv(self) -> None:
            self.channel[self.s].send(self.data.upper())

    class Given(OnlyRecv):
        pass

    for kind, callback in ((Upper, None), (Given, looking([], "def"))):
        with (
            kind("", 0, echo.address, on_recv=callback, callbacks=Callbacks(inspect_limit=4)) as server,
            connect(address_of(server)) as client,
        ):
            assert echoed(client, b"abcd") == b"ABCD"
            assert echoed(client, b"abc") == b"abc"


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^inspect_limit: it is below 1; "):
        Callbacks(inspect_limit=0)
