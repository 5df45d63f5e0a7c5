"""The hooks of a proxy's server, on the proxy itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, overload

if TYPE_CHECKING:
    from .._hook_answers import OnAccept, OnClientHello, OnConnection, OnEof, OnPreread, OnRecv
    from .._hook_types import AcceptHook, CloseHook, ConnectHook, EofHook, HelloHook, PrereadHook, RecvHook
    from .._server import TheServer

_Read = TypeVar("_Read", covariant=True)
_Given = TypeVar("_Given", contravariant=True)


class _OfServer(Generic[_Read, _Given]):
    """A hook of the proxy's server: read as a decorator, assigned, deleted."""

    def __set_name__(self, kind: type, name: str) -> None:
        self._name = name
        self.__doc__ = f"The hook {name} of the server, as TheServer has it: a decorator, and to be assigned."

    @overload
    def __get__(self, proxy: None, kind: type, /) -> _OfServer[_Read, _Given]: ...
    @overload
    def __get__(self, proxy: ProxyHooks, kind: type, /) -> _Read: ...
    def __get__(self, proxy: ProxyHooks | None, kind: type, /) -> object:
        if proxy is None:
            return self
        proxy._offer_loop()  # pyright: ignore[reportPrivateUsage]
        return getattr(proxy.server, self._name)

    def __set__(self, proxy: ProxyHooks, callback: _Given | None, /) -> None:
        proxy._offer_loop()  # pyright: ignore[reportPrivateUsage]
        setattr(proxy.server, self._name, callback)

    def __delete__(self, proxy: ProxyHooks, /) -> None:
        delattr(proxy.server, self._name)


class ProxyHooks:
    """The hooks of a proxy's server. HookMethods says what each is called with, and what it may answer."""

    server: TheServer
    """The server itself, for everything that has no name here."""

    def _offer_loop(self) -> None:
        """Have an asynchronous callback run on the loop on which it is given."""

    on_accept: _OfServer[AcceptHook, OnAccept] = _OfServer()
    on_client_hello: _OfServer[HelloHook, OnClientHello] = _OfServer()
    on_preread: _OfServer[PrereadHook, OnPreread] = _OfServer()
    on_connect: _OfServer[ConnectHook, OnConnection] = _OfServer()
    on_recv: _OfServer[RecvHook, OnRecv] = _OfServer()
    on_client_recv: _OfServer[RecvHook, OnRecv] = _OfServer()
    on_upstream_recv: _OfServer[RecvHook, OnRecv] = _OfServer()
    on_eof: _OfServer[EofHook, OnEof] = _OfServer()
    on_close: _OfServer[CloseHook, OnConnection] = _OfServer()
