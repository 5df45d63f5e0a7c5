"""The hooks as type checkers see them: each may be overridden, assigned, deleted, called, and used as a decorator.

A checker infers the parameters of an override without annotations from the decorated method. An override has those of
the hook, or, where the tutorial has a method of that name, none; what it returns is checked, too.
"""

# The decorators are declared twice, for mypy and for all others.
# pyright: reportRedeclaration=false

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from ._client_hello import ClientHello
from ._connection import Connection, Side
from ._hook_answers import (
    AcceptAnswer,
    AcceptResult,
    Answer,
    ConnectionResult,
    EofAnswer,
    EofResult,
    HelloAnswer,
    HelloResult,
    OnAccept,
    OnClientHello,
    OnConnection,
    OnEof,
    OnPreread,
    OnRecv,
    PrereadAnswer,
    PrereadResult,
    RecvResult,
)
from ._hook_decorators import Hook

if not TYPE_CHECKING:
    accept_hook = hello_hook = preread_hook = connect_hook = recv_hook = client_recv_hook = Hook
    upstream_recv_hook = eof_hook = close_hook = Hook
else:
    _OnAccept = TypeVar("_OnAccept", bound=OnAccept)
    _OnClientHello = TypeVar("_OnClientHello", bound=OnClientHello)
    _OnPreread = TypeVar("_OnPreread", bound=OnPreread)
    _OnConnection = TypeVar("_OnConnection", bound=OnConnection)
    _OnRecv = TypeVar("_OnRecv", bound=OnRecv)
    _OnEof = TypeVar("_OnEof", bound=OnEof)
    _Read = TypeVar("_Read", covariant=True)
    _Given = TypeVar("_Given", contravariant=True)
    _Parameters = ParamSpec("_Parameters")

    class AcceptHook(Protocol):
        """`server.on_accept`."""

        @overload
        def __call__(self, conn: Connection, /) -> AcceptAnswer: ...
        @overload
        def __call__(self) -> object: ...
        @overload
        def __call__(self, callback: _OnAccept, /) -> _OnAccept: ...

    class HelloHook(Protocol):
        """`server.on_client_hello`."""

        @overload
        def __call__(self, conn: Connection, hello: ClientHello, /) -> HelloAnswer: ...
        @overload
        def __call__(self, callback: _OnClientHello, /) -> _OnClientHello: ...

    class PrereadHook(Protocol):
        """`server.on_preread`."""

        @overload
        def __call__(self, conn: Connection, data: bytes, /) -> PrereadAnswer: ...
        @overload
        def __call__(self, callback: _OnPreread, /) -> _OnPreread: ...

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
        def __call__(self) -> object: ...
        @overload
        def __call__(self, callback: _OnConnection, /) -> _OnConnection: ...

    class RecvHook(Protocol):
        """`server.on_recv`, and those for one direction."""

        @overload
        def __call__(self, side: Side, data: bytes, /) -> Answer: ...
        @overload
        def __call__(self) -> object: ...
        @overload
        def __call__(self, callback: _OnRecv, /) -> _OnRecv: ...

    class EofHook(Protocol):
        """`server.on_eof`."""

        @overload
        def __call__(self, side: Side, /) -> EofAnswer: ...
        @overload
        def __call__(self, callback: _OnEof, /) -> _OnEof: ...

    # A script's method may return anything. But these types are narrower than `object`, which the hooks above return
    # when they are called without arguments: a method of a class matches, and a hook of a server of our form does not.
    _Returned: TypeAlias = int | bytes | str | None

    class _BareAccept(Protocol):
        def on_accept(self) -> _Returned: ...

    class _BareRecv(Protocol):
        def on_recv(self) -> _Returned: ...

    class _BareClose(Protocol):
        def on_close(self) -> _Returned: ...

    BareServer: TypeAlias = _BareAccept | _BareRecv | _BareClose
    """A server of the tutorial's form: one that has a method without arguments."""

    class _Assigned(Protocol[_Given]):
        def __set__(self, server: object, callback: _Given, /) -> None: ...
        def __delete__(self, server: object, /) -> None: ...

    OnAcceptMethod: TypeAlias = Callable[[Any, Connection], AcceptResult]
    OnHelloMethod: TypeAlias = Callable[[Any, Connection, ClientHello], HelloResult]
    OnPrereadMethod: TypeAlias = Callable[[Any, Connection, bytes], PrereadResult]
    OnConnectionMethod: TypeAlias = Callable[[Any, Connection], ConnectionResult]
    OnRecvMethod: TypeAlias = Callable[[Any, Side, bytes], RecvResult]
    OnEofMethod: TypeAlias = Callable[[Any, Side], EofResult]

    # mypy takes this name as true, whatever its value.
    MYPY = False
    if MYPY:
        _Plain = TypeVar("_Plain")
        _Ours = TypeVar("_Ours")
        _Later = TypeVar("_Later")
        _Hook = TypeVar("_Hook")
        _Callback = TypeVar("_Callback")
        _Result = TypeVar("_Result")

        # It compares an override with what the hook is when it is read from the class that overrides it, and a read by
        # `super()` gets the same. So it asks for the class: one whose method is right has a hook that takes everything.
        class _Mypy(Generic[_Plain, _Ours, _Later, _Hook, _Callback, _Result]):
            @overload
            def __get__(self, server: _Plain, kind: Any = None, /) -> _Hook: ...
            @overload
            def __get__(self, server: _Ours, kind: Any = None, /) -> Callable[..., _Result]: ...
            @overload
            def __get__(self, server: _Later, kind: Any = None, /) -> Callable[..., Awaitable[_Result]]: ...
            @overload
            def __get__(self, server: object, kind: Any = None, /) -> _Callback: ...
            def __get__(self, server: object, kind: Any = None, /) -> Any: ...
            def __set__(self, server: object, callback: _Callback | None, /) -> None: ...
            def __delete__(self, server: object, /) -> None: ...

        class _WithAccept(Protocol):
            @property
            def on_accept(self) -> AcceptHook: ...

        class _OursAccept(Protocol):
            def on_accept(self, conn: Connection, /) -> AcceptAnswer: ...

        class _LaterAccept(Protocol):
            def on_accept(self, conn: Connection, /) -> Awaitable[AcceptAnswer]: ...

        class _WithHello(Protocol):
            @property
            def on_client_hello(self) -> HelloHook: ...

        class _OursHello(Protocol):
            def on_client_hello(self, conn: Connection, hello: ClientHello, /) -> HelloAnswer: ...

        class _LaterHello(Protocol):
            def on_client_hello(self, conn: Connection, hello: ClientHello, /) -> Awaitable[HelloAnswer]: ...

        class _WithPreread(Protocol):
            @property
            def on_preread(self) -> PrereadHook: ...

        class _OursPreread(Protocol):
            def on_preread(self, conn: Connection, data: bytes, /) -> PrereadAnswer: ...

        class _LaterPreread(Protocol):
            def on_preread(self, conn: Connection, data: bytes, /) -> Awaitable[PrereadAnswer]: ...

        class _WithConnect(Protocol):
            @property
            def on_connect(self) -> ConnectHook: ...

        class _OursConnect(Protocol):
            def on_connect(self, conn: Connection, /) -> None: ...

        class _LaterConnect(Protocol):
            def on_connect(self, conn: Connection, /) -> Awaitable[None]: ...

        class _WithRecv(Protocol):
            @property
            def on_recv(self) -> RecvHook: ...

        class _OursRecv(Protocol):
            def on_recv(self, side: Side, data: bytes, /) -> Answer: ...

        class _LaterRecv(Protocol):
            def on_recv(self, side: Side, data: Any, /) -> Awaitable[Answer]: ...

        class _ViewRecv(Protocol):
            def on_recv(self, side: Side, data: memoryview, /) -> Answer: ...

        class _WithClientRecv(Protocol):
            @property
            def on_client_recv(self) -> RecvHook: ...

        class _OursClientRecv(Protocol):
            def on_client_recv(self, side: Side, data: bytes, /) -> Answer: ...

        class _LaterClientRecv(Protocol):
            def on_client_recv(self, side: Side, data: Any, /) -> Awaitable[Answer]: ...

        class _ViewClientRecv(Protocol):
            def on_client_recv(self, side: Side, data: memoryview, /) -> Answer: ...

        class _WithUpstreamRecv(Protocol):
            @property
            def on_upstream_recv(self) -> RecvHook: ...

        class _OursUpstreamRecv(Protocol):
            def on_upstream_recv(self, side: Side, data: bytes, /) -> Answer: ...

        class _LaterUpstreamRecv(Protocol):
            def on_upstream_recv(self, side: Side, data: Any, /) -> Awaitable[Answer]: ...

        class _ViewUpstreamRecv(Protocol):
            def on_upstream_recv(self, side: Side, data: memoryview, /) -> Answer: ...

        class _WithEof(Protocol):
            @property
            def on_eof(self) -> EofHook: ...

        class _OursEof(Protocol):
            def on_eof(self, side: Side, /) -> EofAnswer: ...

        class _LaterEof(Protocol):
            def on_eof(self, side: Side, /) -> Awaitable[EofAnswer]: ...

        class _WithClose(Protocol):
            @property
            def on_close(self) -> CloseHook: ...

        class _OursClose(Protocol):
            def on_close(self, conn: Connection, /) -> None: ...

        class _LaterClose(Protocol):
            def on_close(self, conn: Connection, /) -> Awaitable[None]: ...

        _Accept: TypeAlias = _Mypy[
            _WithAccept, _OursAccept | _BareAccept, _LaterAccept, AcceptHook, OnAccept, AcceptAnswer
        ]
        _Hello: TypeAlias = _Mypy[_WithHello, _OursHello, _LaterHello, HelloHook, OnClientHello, HelloAnswer]
        _Preread: TypeAlias = _Mypy[_WithPreread, _OursPreread, _LaterPreread, PrereadHook, OnPreread, PrereadAnswer]
        _Connect: TypeAlias = _Mypy[_WithConnect, _OursConnect, _LaterConnect, ConnectHook, OnConnection, None]
        _Recv: TypeAlias = _Mypy[_WithRecv, _OursRecv | _ViewRecv | _BareRecv, _LaterRecv, RecvHook, OnRecv, Answer]
        _ClientRecv: TypeAlias = _Mypy[
            _WithClientRecv, _OursClientRecv | _ViewClientRecv, _LaterClientRecv, RecvHook, OnRecv, Answer
        ]
        _UpstreamRecv: TypeAlias = _Mypy[
            _WithUpstreamRecv, _OursUpstreamRecv | _ViewUpstreamRecv, _LaterUpstreamRecv, RecvHook, OnRecv, Answer
        ]
        _Eof: TypeAlias = _Mypy[_WithEof, _OursEof, _LaterEof, EofHook, OnEof, EofAnswer]
        _Close: TypeAlias = _Mypy[_WithClose, _OursClose | _BareClose, _LaterClose, CloseHook, OnConnection, None]

        def accept_hook(method: OnAcceptMethod) -> _Accept: ...
        def hello_hook(method: OnHelloMethod) -> _Hello: ...
        def preread_hook(method: OnPrereadMethod) -> _Preread: ...
        def connect_hook(method: OnConnectionMethod) -> _Connect: ...
        def recv_hook(method: OnRecvMethod) -> _Recv: ...
        def client_recv_hook(method: OnRecvMethod) -> _ClientRecv: ...
        def upstream_recv_hook(method: OnRecvMethod) -> _UpstreamRecv: ...
        def eof_hook(method: OnEofMethod) -> _Eof: ...
        def close_hook(method: OnConnectionMethod) -> _Close: ...
    else:
        _Answered = TypeVar("_Answered", covariant=True)

        # Others compare an override with the attribute's own type, of which the function has to be one kind.
        class _Readable(Protocol[_Read]):
            def __get__(self, server: object, kind: Any = None, /) -> _Read: ...

        class _Assignable(_Assigned[_Given], _Readable[_Read], Protocol[_Read, _Given]): ...

        # A function that is assigned: a lambda takes the types of its parameters from here.
        class _Function(_Readable[_Read], Protocol[_Parameters, _Answered, _Read]):
            def __call__(self, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Answered: ...

        # The methods, with their server in front. Written such that no lambda takes its types from them.
        class _AcceptMethod(_Readable[AcceptHook], Protocol):
            def __call__(self, *args: *tuple[Any, Connection]) -> AcceptResult: ...

        class _HelloMethod(_Readable[HelloHook], Protocol):
            def __call__(self, *args: *tuple[Any, Connection, ClientHello]) -> HelloResult: ...

        class _PrereadMethod(_Readable[PrereadHook], Protocol):
            def __call__(self, *args: *tuple[Any, Connection, bytes]) -> PrereadResult: ...

        class _ConnectMethod(_Readable[ConnectHook], Protocol):
            def __call__(self, *args: *tuple[Any, Connection]) -> ConnectionResult: ...

        class _RecvMethod(_Readable[RecvHook], Protocol):
            def __call__(self, *args: *tuple[Any, Side, bytes]) -> RecvResult: ...

        class _ViewMethod(_Readable[RecvHook], Protocol):
            def __call__(self, *args: *tuple[Any, Side, memoryview]) -> RecvResult: ...

        class _EofMethod(_Readable[EofHook], Protocol):
            def __call__(self, *args: *tuple[Any, Side]) -> EofResult: ...

        class _CloseMethod(_Readable[CloseHook], Protocol):
            def __call__(self, *args: *tuple[Any, Connection]) -> ConnectionResult: ...

        # Those of the tutorial's form.
        class _ScriptMethod(_Readable[_Read], Protocol[_Read]):
            def __call__(self, server: Any, /) -> _Returned: ...

        _AnyAccept: TypeAlias = (
            _Assignable[AcceptHook, OnAccept | None]
            | _Function[[Connection], AcceptResult, AcceptHook]
            | _AcceptMethod
            | _ScriptMethod[AcceptHook]
        )
        _AnyHello: TypeAlias = (
            _Assignable[HelloHook, OnClientHello | None]
            | _Function[[Connection, ClientHello], HelloResult, HelloHook]
            | _HelloMethod
        )
        _AnyPreread: TypeAlias = (
            _Assignable[PrereadHook, OnPreread | None]
            | _Function[[Connection, bytes], PrereadResult, PrereadHook]
            | _PrereadMethod
        )
        _AnyConnect: TypeAlias = (
            _Assignable[ConnectHook, OnConnection | None]
            | _Function[[Connection], ConnectionResult, ConnectHook]
            | _ConnectMethod
        )
        _AnyClientRecv: TypeAlias = (
            _Assignable[RecvHook, OnRecv | None]
            | _Function[[Side, bytes], RecvResult, RecvHook]
            | _RecvMethod
            | _ViewMethod
        )
        _AnyUpstreamRecv: TypeAlias = _AnyClientRecv
        _AnyRecv: TypeAlias = _AnyClientRecv | _ScriptMethod[RecvHook]
        _AnyEof: TypeAlias = _Assignable[EofHook, OnEof | None] | _Function[[Side], EofResult, EofHook] | _EofMethod
        _AnyClose: TypeAlias = (
            _Assignable[CloseHook, OnConnection | None]
            | _Function[[Connection], ConnectionResult, CloseHook]
            | _CloseMethod
            | _ScriptMethod[CloseHook]
        )

        def accept_hook(method: OnAcceptMethod) -> _AnyAccept: ...
        def hello_hook(method: OnHelloMethod) -> _AnyHello: ...
        def preread_hook(method: OnPrereadMethod) -> _AnyPreread: ...
        def connect_hook(method: OnConnectionMethod) -> _AnyConnect: ...
        def recv_hook(method: OnRecvMethod) -> _AnyRecv: ...
        def client_recv_hook(method: OnRecvMethod) -> _AnyClientRecv: ...
        def upstream_recv_hook(method: OnRecvMethod) -> _AnyUpstreamRecv: ...
        def eof_hook(method: OnEofMethod) -> _AnyEof: ...
        def close_hook(method: OnConnectionMethod) -> _AnyClose: ...
