"""Names that are nearly those of a proxy, and the right ones for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from .._names import nearest, no_such

_TIMEOUT = dict.fromkeys(("deadline", "seconds", "within", "limit"), "timeout")
_CONNECTION = dict.fromkeys(("conn", "id", "client"), "connection")
WAIT_FOR_ARGUMENTS = {
    **dict.fromkeys(("pattern", "bytes", "wanted", "what", "needle", "text", "regex"), "data"),
    **dict.fromkeys(("side", "way", "where", "from"), "direction"),
    **_CONNECTION,
    **_TIMEOUT,
}
CONNECTIONS_ARGUMENTS = {**dict.fromkeys(("count", "n", "connections", "clients"), "number"), **_TIMEOUT}
CLOSED_ARGUMENTS = {**_CONNECTION, **_TIMEOUT}

_NAMES = {
    **dict.fromkeys(("waitforbytes", "waitfordata", "waituntil", "expectbytes", "waitfortext"), "wait_for()"),
    **dict.fromkeys(("waitforclosed", "waitforclose", "waitclose", "join"), "wait_closed()"),
    **dict.fromkeys(
        ("waitconnections", "waitforconnection", "waitforclient", "waitforclients"), "wait_for_connections()"
    ),
    **dict.fromkeys(("block", "freeze", "hold", "stall"), "pause()"),
    **dict.fromkeys(("unpause", "unblock", "thaw"), "resume()"),
    **dict.fromkeys(("down", "disable", "pauselistening", "refuseconnections", "reject"), "refuse()"),
    **dict.fromkeys(("up", "enable", "resumelistening", "acceptagain"), "listen()"),
    **dict.fromkeys(("closeall", "disconnectall", "finall"), "drop_all()"),
    **dict.fromkeys(("abortall", "killall", "rstall"), "reset_all()"),
    **dict.fromkeys(("history", "events", "log", "record", "recorded", "messages", "data"), "transcript"),
    **dict.fromkeys(("expectations", "verify", "asserts"), "expect, and check()"),
    **dict.fromkeys(("close", "shutdown", "quit"), "stop()"),
    **dict.fromkeys(("run", "serve"), "start()"),
    **dict.fromkeys(("addr", "url", "netloc", "name", "getsockname"), "address, and str(proxy)"),
    **dict.fromkeys(("clients", "conns", "sessions"), "connections"),
    **dict.fromkeys(("asyncio", "asynchronous", "awaitable"), "aio"),
    **dict.fromkeys(("addtoxic", "addfault", "inject"), "add()"),
    **dict.fromkeys(("toxics", "toxic", "faultlist"), "faults"),
    **dict.fromkeys(("removetoxic", "removefault", "delete"), "remove()"),
}


class ProxyNames:
    """The base of a proxy: what it does not have is answered with what it has."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            public = [one for one in object.__dir__(self) if not one.startswith("_")]
            meant = None if name.startswith("_") else nearest(name, public, _NAMES)
            raise AttributeError(no_such(name, "'Proxy' object", meant))
