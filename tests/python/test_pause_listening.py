"""A server that refuses clients for a while, and listens again on its port."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from interpose import ServerStoppedError, TheServer
from support.peers import Echo, connect, echo


@pytest.fixture
def server() -> Iterator[TheServer]:
    with Echo() as upstream, TheServer("", 0, upstream.address) as server:
        yield server


def connects(server: TheServer) -> bool:
    try:
        socket.create_connection(server.address, timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_clients_are_refused_until_it_listens_again(server: TheServer) -> None:
    for _ in range(3):
        server.pause_listening()
        assert not connects(server)
        assert not server.is_listening
        assert "refusing clients" in repr(server)
        server.resume_listening()
        assert connects(server)
        assert server.is_listening


def test_a_callback_may_pause_its_server() -> None:
    def on_recv(side: object, data: bytes) -> None:
        mine.pause_listening()

    with (
        Echo() as upstream,
        TheServer("", 0, upstream.address, on_recv=on_recv) as mine,
        connect(mine.address) as client,
    ):
        assert echo(client, b"once") == b"once"
        assert not connects(mine)


def test_on_an_event_loop() -> None:
    async def scenario() -> None:
        async with TheServer("", 0, upstream.address) as server:
            server.pause_listening()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*server.address)
            server.resume_listening()
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            writer.close()

    with Echo() as upstream:
        asyncio.run(scenario())


def test_a_stopped_server_says_so(server: TheServer) -> None:
    server.pause_listening()
    server.stop()
    for call in (server.pause_listening, server.resume_listening):
        with pytest.raises(ServerStoppedError, match="it was stopped; make a new server"):
            call()
    assert not server.is_listening
