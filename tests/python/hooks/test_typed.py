"""What type checkers say of callbacks: each `ignore` here is an error of theirs, or they complain of the comment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interpose import Connection, Side, TheServer
from interpose._side import Buffer
from support.exchanges import exchange
from support.peers import Echo


def of_bytes(side: Side, data: bytes) -> bytes:
    return data.upper()


def of_views(side: Side, data: memoryview) -> list[memoryview]:
    return [data[:1], data[1:]]


def of_either(side: Side, data: bytes | memoryview) -> None: ...


def of_text(side: Side, data: str) -> None: ...


def gives_a_number(side: Side, data: bytes) -> int:
    return len(data)


def test_callbacks_of_either_kind(echo: Echo) -> None:
    with TheServer("", 0, echo.address, on_recv=of_bytes) as server:
        assert exchange(server)[1] == b"ABC"
    with TheServer("", 0, echo.address, on_client_recv=of_views, buffer="view") as server:
        assert exchange(server)[1] == b"abc"
    for buffer in ("bytes", "view"):
        with TheServer("", 0, echo.address, on_recv=of_either, buffer=buffer) as server:
            assert exchange(server)[1] == b"abc"


def test_callbacks_of_no_kind(echo: Echo) -> None:
    TheServer("", 0, echo.address, on_recv=of_text)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    TheServer("", 0, echo.address, on_client_recv=of_text)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    TheServer("", 0, echo.address, on_upstream_recv=gives_a_number)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Ours(TheServer):
    def on_accept(self, conn: Connection) -> str:
        return "example.org:80"

    def on_upstream_recv(self, side: Side, data: bytes) -> Sequence[Buffer] | Buffer | None:
        return super().on_upstream_recv(side, data)

    def on_client_recv(self, side: Side, data: bytes) -> int:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        return 1


class Tutorials(TheServer):
    def on_accept(self) -> None: ...
    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)
        self.on_close()

    def on_close(self) -> None:
        super().on_close()


def test_decorated_and_assigned(echo: Echo) -> None:
    server = TheServer("", 0, echo.address)

    @server.on_recv
    def decorated(side: Side, data: bytes) -> bytes:
        return data

    @server.on_upstream_recv
    def with_views(side: Side, data: memoryview) -> list[memoryview]:
        return [data]

    @server.on_eof
    def on_eof(side: Side) -> bool | None: ...

    as_it_was: list[Callable[[Side, bytes], bytes]] = [decorated]
    server.on_recv(of_text)  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
    server.on_recv(gives_a_number)  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
    server.on_recv = as_it_was[0]
    server.on_client_recv = of_either
    server.on_close = None
    server.on_recv = of_text  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    assert server.on_eof == on_eof
    assert callable(with_views)
    server.stop()
