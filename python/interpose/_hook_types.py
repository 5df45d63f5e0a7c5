"""The hooks as type checkers see them: each may be overridden, assigned, deleted, called, and used as a decorator.

A checker infers the parameters of an override without annotations from the decorated method. An override may have any
parameters, for those of the tutorial's form have none; what it returns is checked.
"""

# The decorators are declared twice, for mypy and for all others.
# pyright: reportRedeclaration=false

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

from ._connection import Connection, Side
from ._forward import ForwardTo
from ._hook_decorators import Hook
from ._side import Buffer

Answer: TypeAlias = Buffer | Sequence[Buffer] | None
"""The answer of on_recv: None to pass the chunk on, or what to send instead."""
OnRecv: TypeAlias = Callable[[Side, bytes], Answer] | Callable[[Side, memoryview], Answer]
"""A callback for on_recv: the second kind with `buffer="view"`."""
EofAnswer: TypeAlias = Buffer | Sequence[Buffer] | bool | None
"""The answer of on_eof: None to pass the end on, data to send before it, False to withhold it."""
OnEof: TypeAlias = Callable[[Side], EofAnswer]
"""A callback for on_eof."""
AcceptAnswer: TypeAlias = ForwardTo | Side | socket.socket | bool | None
"""The answer of on_accept: None for `forward_to`, False to refuse, or where to go."""
OnAccept: TypeAlias = Callable[[Connection], AcceptAnswer]
"""A callback for on_accept."""
OnConnection: TypeAlias = Callable[[Connection], None]
"""A callback for on_connect or on_close."""

if not TYPE_CHECKING:
    accept_hook = connect_hook = recv_hook = client_recv_hook = upstream_recv_hook = eof_hook = close_hook = Hook
else:
    _OnAccept = TypeVar("_OnAccept", bound=OnAccept)
    _OnConnection = TypeVar("_OnConnection", bound=OnConnection)
    _OnRecv = TypeVar("_OnRecv", bound=OnRecv)
    _OnEof = TypeVar("_OnEof", bound=OnEof)
    _Read = TypeVar("_Read", covariant=True)
    _Given = TypeVar("_Given", contravariant=True)
    _Result = TypeVar("_Result", covariant=True)

    class AcceptHook(Protocol):
        """`server.on_accept`."""

        @overload
        def __call__(self, conn: Connection, /) -> AcceptAnswer: ...
        @overload
        def __call__(self) -> None: ...
        @overload
        def __call__(self, callback: _OnAccept, /) -> _OnAccept: ...

    class ConnectHook(Protocol):
        """`server.on_connect`."""

        @overload
        def __call__(self, conn: Connection, /) -> None: ...
        @overload
        def __call__(self, callback: _OnConnection, /) -> _OnConnection: ...

    class CloseHook(Protocol):
        """`server.on_close`."""

        @overload
        def __call__(self, conn: Connection, /) -> None: ...
        @overload
        def __call__(self) -> None: ...
        @overload
        def __call__(self, callback: _OnConnection, /) -> _OnConnection: ...

    class RecvHook(Protocol):
        """`server.on_recv`, and those for one direction."""

        @overload
        def __call__(self, side: Side, data: bytes, /) -> Answer: ...
        @overload
        def __call__(self) -> None: ...
        @overload
        def __call__(self, callback: _OnRecv, /) -> _OnRecv: ...

    class EofHook(Protocol):
        """`server.on_eof`."""

        @overload
        def __call__(self, side: Side, /) -> EofAnswer: ...
        @overload
        def __call__(self, callback: _OnEof, /) -> _OnEof: ...

    class _Assigned(Protocol[_Given]):
        def __set__(self, server: object, callback: _Given, /) -> None: ...
        def __delete__(self, server: object, /) -> None: ...

    OnAcceptMethod: TypeAlias = Callable[[Any, Connection], AcceptAnswer]
    OnConnectionMethod: TypeAlias = Callable[[Any, Connection], None]
    OnRecvMethod: TypeAlias = Callable[[Any, Side, bytes], Answer]
    OnEofMethod: TypeAlias = Callable[[Any, Side], EofAnswer]

    # mypy takes this name as true, whatever its value.
    MYPY = False
    if MYPY:
        # It compares an override with what the hook is when it is read from the class that overrides it. So where
        # the hook is overridden, that is a function of any arguments.
        class _Accept(Protocol):
            @property
            def on_accept(self) -> AcceptHook: ...

        class _Connect(Protocol):
            @property
            def on_connect(self) -> ConnectHook: ...

        class _Recv(Protocol):
            @property
            def on_recv(self) -> RecvHook: ...

        class _ClientRecv(Protocol):
            @property
            def on_client_recv(self) -> RecvHook: ...

        class _UpstreamRecv(Protocol):
            @property
            def on_upstream_recv(self) -> RecvHook: ...

        class _Eof(Protocol):
            @property
            def on_eof(self) -> EofHook: ...

        class _Close(Protocol):
            @property
            def on_close(self) -> CloseHook: ...

        _Plain = TypeVar("_Plain", contravariant=True)

        class _Mypy(_Assigned[_Given], Protocol[_Plain, _Read, _Given, _Result]):
            @overload
            def __get__(self, server: _Plain, kind: Any = None, /) -> _Read: ...
            @overload
            def __get__(self, server: object, kind: Any = None, /) -> Callable[..., _Result]: ...

        def accept_hook(method: OnAcceptMethod) -> _Mypy[_Accept, AcceptHook, OnAccept | None, AcceptAnswer]: ...
        def connect_hook(method: OnConnectionMethod) -> _Mypy[_Connect, ConnectHook, OnConnection | None, None]: ...
        def recv_hook(method: OnRecvMethod) -> _Mypy[_Recv, RecvHook, OnRecv | None, Answer]: ...
        def client_recv_hook(method: OnRecvMethod) -> _Mypy[_ClientRecv, RecvHook, OnRecv | None, Answer]: ...
        def upstream_recv_hook(method: OnRecvMethod) -> _Mypy[_UpstreamRecv, RecvHook, OnRecv | None, Answer]: ...
        def eof_hook(method: OnEofMethod) -> _Mypy[_Eof, EofHook, OnEof | None, EofAnswer]: ...
        def close_hook(method: OnConnectionMethod) -> _Mypy[_Close, CloseHook, OnConnection | None, None]: ...
    else:
        # Others compare an override with the attribute's own type, which a function has to be assignable to.
        class _Overriding(Protocol[_Read, _Result]):
            def __call__(self, *args: Any, **kwargs: Any) -> _Result: ...
            def __get__(self, server: object, kind: Any = None, /) -> _Read: ...

        class _Descriptor(_Assigned[_Given], Protocol[_Read, _Given]):
            def __get__(self, server: object, kind: Any = None, /) -> _Read: ...

        _Attribute: TypeAlias = _Descriptor[_Read, _Given] | _Overriding[_Read, _Result]

        def accept_hook(method: OnAcceptMethod) -> _Attribute[AcceptHook, OnAccept | None, AcceptAnswer]: ...
        def connect_hook(method: OnConnectionMethod) -> _Attribute[ConnectHook, OnConnection | None, None]: ...
        def recv_hook(method: OnRecvMethod) -> _Attribute[RecvHook, OnRecv | None, Answer]: ...
        def client_recv_hook(method: OnRecvMethod) -> _Attribute[RecvHook, OnRecv | None, Answer]: ...
        def upstream_recv_hook(method: OnRecvMethod) -> _Attribute[RecvHook, OnRecv | None, Answer]: ...
        def eof_hook(method: OnEofMethod) -> _Attribute[EofHook, OnEof | None, EofAnswer]: ...
        def close_hook(method: OnConnectionMethod) -> _Attribute[CloseHook, OnConnection | None, None]: ...
