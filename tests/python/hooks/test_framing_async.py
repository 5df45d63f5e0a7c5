"""Framings and asynchronous callbacks: one message at a time, in order, with their lengths set right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from conftest import Serve
from interpose import Side, framing
from interpose.framing import Framing
from support.callbacks import CloseRecorder
from support.dialogues import DIALOGUES, Messages, Speaker, said, talk
from support.exchanges import Sink, exchange, wait_until_idle
from support.peers import Echo


@pytest.mark.parametrize(("make", "messages"), DIALOGUES.values(), ids=DIALOGUES)
def test_each_message_comes_whole_and_alone(make: Callable[[], Framing], messages: Messages, serve: Serve) -> None:
    seen: dict[bool, list[bytes]] = {True: [], False: []}

    async def on_recv(side: Side, message: bytes) -> None:
        await asyncio.sleep(0)
        seen[side.is_client].append(message)
        assert not side.partial

    ends = CloseRecorder()
    with Speaker(messages, 7) as upstream:
        server = serve(upstream.address, framing=make(), on_recv=on_recv, on_close=ends)
        assert talk(server, messages, 7) == b"".join(said(messages, False))
        ends.wait()
        assert upstream.wait() == b"".join(said(messages, True))
    assert seen == {side: said(messages, side) for side in (True, False)}
    assert server.stats.callback_errors == 0


def test_a_length_field_is_set_in_each_item_of_an_answer(serve: Serve) -> None:
    async def on_client_recv(side: Side, message: bytes) -> list[bytes]:
        await asyncio.sleep(0)
        return [message, b"\0\0more", b""]

    with Sink() as upstream:
        server = serve(upstream.address, framing=framing.length_prefixed(2), on_client_recv=on_client_recv)
        exchange(server, b"\0\1a\0\0")
        assert upstream.wait() == ("eof", b"\0\1a\0\4more\0\0\0\4more")


def test_another_framing_holds_from_the_next_byte_on(echo: Echo, serve: Serve) -> None:
    seen: list[bytes] = []

    async def on_client_recv(side: Side, data: bytes) -> None:
        await asyncio.sleep(0)
        seen.append(data)
        side.framing = framing.fixed(2) if data == b"go\n" else framing.lines()

    server = serve(echo.address, framing=framing.lines(), on_client_recv=on_client_recv)
    assert exchange(server, b"go\na\nb\nrest") == ("eof", b"go\na\nb\nrest")
    assert seen == [b"go\n", b"a\n", b"b\n", b"rest"]


def test_a_function_cuts_for_them_too(echo: Echo, serve: Serve) -> None:
    """On the lane, though no callback needs that."""
    seen: list[bytes] = []

    def cut(buffer: memoryview) -> int | None:
        return 1 + buffer[0] if len(buffer) > buffer[0] else None

    async def on_recv(side: Side, message: bytes) -> None:
        await asyncio.sleep(0)
        seen.append(message)

    server = serve(echo.address, framing=framing.custom(cut), on_recv=on_recv)
    assert exchange(server, b"\1a\0\2bc") == ("eof", b"\1a\0\2bc")
    assert sorted(seen) == sorted([b"\1a", b"\0", b"\2bc"] * 2)
    assert wait_until_idle(server).stats.callback_errors == 0
