"""What type checkers say of callbacks: each `ignore` here is an error of theirs, or they complain of the comment."""

from __future__ import annotations

from interpose import Side, TheServer
from peers import Echo

from .clients import exchange


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
