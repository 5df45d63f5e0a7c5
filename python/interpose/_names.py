"""Names that are nearly ours, and the right one for each, in errors. Nothing here is on the way of a right name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from ._exceptions import ArgumentTypeError, ConfigError, printable
from ._settings_and_help import GROUPS, rows_of

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Beyond that, no slip; and comparing takes quadratic time.
_LONGEST, _LIKE = 40, 0.75


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def table(names: dict[str, str]) -> dict[str, str]:
    return {wrong: right for right, wrongs in names.items() for wrong in wrongs.split()}


# All keys are in small letters and without underscores, so that they cover other ways to write a name.
HOOKS = table(
    {
        "on_recv": "ondata onreceive onreceived onmessage onread onchunk onpacket ondatareceived datareceived",
        "on_client_recv": "onrequest onclientdata onclientmessage onclientreceive",
        "on_upstream_recv": "onresponse onupstreamdata onserverdata onserverrecv onserverreceive ontargetrecv",
        "on_accept": "onconnection onclient onnewconnection onnewclient onclientconnect onopen connectionmade",
        "on_client_hello": "onhello ontlshello ontlsclienthello tlsclienthello onsni onservername snicallback",
        "on_preread": "onpeek onsniff onfirstbytes onfirstdata oninitialdata",
        "on_connect": "onconnected onserverconnect onupstreamconnect onupstream",
        "on_eof": "oneofreceived eofreceived onfin onhalfclose",
        "on_close": "ondisconnect ondisconnected onend onclosed onclientdisconnect connectionlost onfinish",
    }
)


def _places() -> dict[str, str]:
    """Return for each setting of a server, by all names that it is known by, where it is given."""
    found: dict[str, str] = {}
    for group in GROUPS:
        for row in group.rows if group.given_as else ():
            names = (row.name, *row.others.split())
            found.update(dict.fromkeys(map(_plain, names), group.given_as.format(row.name)))
    return found


def others_of(name: str) -> dict[str, str]:
    """Return what else people write for the settings of the group `name`, and where other arguments belong.

    >>> others_of("timeouts")["idletimeout"], others_of("timeouts")["maxconnections"]
    ('idle', 'limits=Limits(max_connections=...)')
    """
    found = _places() | dict.fromkeys(("host", "port", "address", "bind"), "TheServer(host, port, ...)")
    found.update({_plain(hook): f"TheServer(..., {hook}=...)" for hook in HOOKS.values()})
    found["drain"] = "TheServer(..., drain=...), or stop(drain=...)"
    for row in rows_of(name):
        found.update(dict.fromkeys(map(_plain, (row.name, *row.others.split())), row.name))
    return found


SERVER_ARGUMENTS = {
    **_places(),
    **HOOKS,
    **table(
        {
            "forward_to": "target upstream dest destination remote to forward backend server targethost",
            "filters": "filter stages taps",
            "faults": "fault toxics toxic failures chaos",
            "seed": "randomseed random rngseed",
            "mirror_to": "mirrorto mirror shadow shadowto mirrortarget copyto tee teeto",
            "host and port": "address bind listenaddress",
            "on_recv": "callback handler",
        }
    ),
}
FORWARD_ARGUMENTS = others_of("forward") | table({"host and port": "target address upstream to"})
DELIMITED_ARGUMENTS = table({"delimiter": "delim separator sep end terminator marker"})
LENGTH_ARGUMENTS = table(
    {
        "width": "size bytes nbytes length lengthbytes fieldsize lengthsize",
        "offset": "skip start at lengthoffset",
        "byteorder": "endian endianness endianess order",
        "adjust": "adjustment lengthadjustment add extra",
    }
)
FILTERS = table(
    {
        "Capture": "pcap pcapng wireshark dump",
        "Grep": "search only match matching find",
        "Hexdump": "hex dump hexa xxd",
        "JsonLines": "json jsonl ndjson",
        "Replace": "sub substitute rewrite change",
        "ReplaceRegex": "regex regexp sed resub",
        "Text": "ascii print plain",
    }
)
FILTER_ARGUMENTS = table(
    {
        "file": "output out path filename stream to target",
        "width": "columns cols bytes linewidth",
        "truncate": "max limit maximum maxbytes shorten cut",
        "color": "colour colors colours",
        "direction": "side way only",
        "old": "find search what from",
        "new": "by with replacewith",
        "pattern": "regex regexp expression expr",
        "replacement": "repl sub substitute instead",
        "count": "times number n maxcount",
        "hold": "wait timeout delay",
        "keep": "buffer before kept",
    }
)
CAPTURE_ARGUMENTS = table(
    {
        "path": "file filename name to output target",
        "snaplen": "snap snaplength truncate limit",
        "rotate_size": "size maxsize filesize rotatebytes",
        "rotate_seconds": "seconds interval rotatetime rotateinterval duration",
        "rotate_keep": "keep files count maxfiles ring",
        "keys": "secrets keylog keylogfile sslkeylogfile",
        "sides": "side interfaces direction",
    }
)
FIXED_ARGUMENTS = table({"n": "size length width count bytes nbytes"})
CUSTOM_ARGUMENTS = table({"function": "func f callback cut framer callable"})
FRAMINGS = table(
    {
        "lines": "line newline newlines ndjson jsonlines jsonl text",
        "delimited": "delimiter delim separator split",
        "fixed": "fixedlength fixedsize size",
        "length_prefixed": "length lengthprefix prefixed prefix lengthfield uint16 uint32",
        "varint": "protobuf varints leb128",
        "tls_records": "tls ssl tlsrecord",
        "resp": "redis valkey resp2 resp3",
        "postgres": "postgresql pg psql",
        "mysql": "mariadb",
        "modbus": "modbustcp",
        "dns": "dnstcp",
        "http1": "http http11 https",
        "custom": "function call callable",
    }
)
STOP_ARGUMENTS = table({"drain": "timeout grace graceperiod gracetimeout wait seconds"})
LOOP_ARGUMENTS = table({"handle_signals": "signals installsignalhandlers signalhandlers"})
SERVER = {
    "run": "main_loop()",
    "runforever": "main_loop()",
    "serve": "main_loop(), or start() in the background",
    "listen": "start(); it listens from the time it is made",
    "loop": "main_loop()",
    "forever": "serve_forever()",
    "startserving": "start()",
    "close": "stop()",
    "shutdown": "stop()",
    "quit": "stop()",
    "terminate": "stop()",
    "aclose": "async with, or stop()",
    "port": "address[1]",
    "host": "address[0]",
    "sockname": "address",
    "getsockname": "address",
    "sockets": "address",
    "target": "forward_to",
    "upstream": "forward_to",
    "clients": "connections",
    "sessions": "connections",
    "metrics": "stats",
    "wait": "wait_closed()",
    "join": "wait_closed()",
    **HOOKS,
}
MODULE = {
    "proxy": "TheServer",
    "tcpproxy": "TheServer",
    "server": "TheServer",
    "proxyserver": "TheServer",
    "listener": "TheServer",
    "interpose": "TheServer",
    "target": "Forward",
    "upstream": "Forward",
    "forwarder": "Forward",
    "forwardto": "Forward",
    "client": "Side",
    "peer": "Side",
    "socket": "Side",
    "session": "Connection",
    "conn": "Connection",
    "timeout": "Timeouts",
    "reason": "CloseReason",
    "state": "ConnectionPhase",
    "phase": "ConnectionPhase",
    "error": "InterposeError",
    "exceptions": "InterposeError",
    "statistics": "Stats",
    "version": "__version__",
}


def nearest(name: str, right: Iterable[str], others: Mapping[str, str], like: float = _LIKE) -> str | None:
    """Return what `name` is probably meant to be: of `others`, by another name, or of `right`, misspelled.

    >>> nearest("onReceive", [], HOOKS), nearest("adress", ["address"], {}), nearest("msg_count", ["stats"], {})
    ('on_recv', 'address', None)
    """
    if len(name) > _LONGEST:
        return None
    plain = _plain(name)
    if plain in others:
        return others[plain]
    spelled: dict[str, str] = {}
    for one in right:
        # The first of two that differ in case: MORE, which is returned, and not its type More.
        spelled.setdefault(_plain(one), one)
    found = difflib.get_close_matches(plain, spelled, 1, like)
    return spelled[found[0]] if found else None


def is_alias(name: str) -> bool:
    """Return whether it is what others call a hook."""
    return _plain(name) in HOOKS


def no_such(name: str, where: str, meant: str | None) -> str:
    """Return the text of an error for a name that is not there."""
    return f"{where} has no attribute {printable(name)!r}" + (f"; did you mean {meant}?" if meant else "")


def names_checked(
    others: Mapping[str, str], old: frozenset[str] = frozenset(), first: int = 1, sample: str = ""
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Return a decorator: a keyword that the function does not know is answered with the one that is meant.

    `old`: other keywords that it takes; answers name those that `others` lead to. `first`: the place of its first
    argument that has a name, which in a method is behind `self`. With a `sample` of its call, arguments that are
    missing or too many are answered with that.
    """

    def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        code = function.__code__
        known = code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount]
        keywords, named_ones = old.union(known), (*known, *sorted(old.intersection(others.values())))
        needed = known[: len(known) - len(function.__defaults__ or ())]

        @functools.wraps(function)
        def checked(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
            __tracebackhide__ = True
            if sample:
                _check_number(sample, known, needed, len(arguments), named)
            if not named.keys() <= keywords:
                wrong = next(name for name in named if name not in keywords)
                # A slip of another's name for it is answered as well.
                meant = nearest(wrong, named_ones, others) or others.get(nearest(wrong, others, {}) or "")
                listed = f"there are {', '.join(named_ones)}" if named_ones else "it takes none"
                advice = f"did you mean {meant}?" if meant in keywords or "(" in str(meant) else listed
                raise ArgumentTypeError(f"{printable(wrong)}: there is no such argument; {advice}")
            return function(*arguments, **named)

        return checked

    return decorate


def _check_number(
    sample: str, known: tuple[str, ...], needed: tuple[str, ...], given: int, named: Mapping[str, object]
) -> None:
    """Raise if one of the `needed` arguments is missing, or more are given than are `known`."""
    name = sample.partition("(")[0].rpartition(".")[2]
    if not known and (given or named):
        raise ArgumentTypeError(f"{name}: it takes no arguments; write {sample}")
    if given > len(known):
        raise ArgumentTypeError(f"{name}: it takes {', '.join(known)}, and has {given} arguments; write {sample}")
    missing = next((one for one in needed[given:] if one not in named), None)
    # A slip in its name is answered by that.
    if missing is not None and named.keys() <= set(known):
        raise ArgumentTypeError(f"{missing}: it is missing; write {sample}")


class ServerNames:
    """A server's base: what it does not have is answered with what it has."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            kind = type(self)
            if name in ("_drain", "_pid", "_native", "_callbacks", "_live"):
                raise ConfigError(
                    f"{kind.__name__}: super().__init__() was not called, or it raised an error; call it in __init__, "
                    "with the host and the port"
                )
            public = () if name.startswith("_") else [one for one in dir(kind) if not one.startswith("_")]
            meant = nearest(name, public, SERVER) if public else None
            raise AttributeError(no_such(name, f"{kind.__name__!r} object", meant))


class _Wrong:
    """An attribute that is not there, and knows what is."""

    def __init__(self, meant: str) -> None:
        self._meant = meant
        self._name = ""
        self.__doc__ = f"Not there: use {meant}."

    def __set_name__(self, kind: type, name: str) -> None:
        self._name = name

    def __get__(self, owner: object, kind: type) -> NoReturn:
        shown = f"type object {kind.__name__!r}" if owner is None else f"{kind.__name__!r} object"
        raise AttributeError(no_such(self._name, shown, self._meant))


def _base(name: str, slips: dict[str, str]) -> Any:
    """Return a base class with an attribute for each of `slips`: a `__getattr__` would slow down the right ones."""

    def names(self: object) -> list[str]:
        return [one for one in object.__dir__(self) if one not in slips]

    return type(name, (), {"__slots__": (), "__dir__": names, **{one: _Wrong(meant) for one, meant in slips.items()}})


if TYPE_CHECKING:

    class SideNames:
        """The base of a side."""

        __slots__ = ()

    class ConnectionNames:
        """The base of a connection."""

        __slots__ = ()

else:
    SideNames = _base(
        "SideNames",
        {
            **dict.fromkeys(("peer", "peername", "address", "addr", "remote", "remote_address"), "getpeername()"),
            **dict.fromkeys(("host", "ip"), "getpeername()[0]"),
            **dict.fromkeys(("sockname", "local", "local_address"), "getsockname()"),
            **dict.fromkeys(("write", "sendto", "send_all"), "send()"),
            **dict.fromkeys(("shutdown", "write_eof", "end"), "half_close()"),
            **dict.fromkeys(("abort", "reset", "kill"), "connection.abort()"),
            **dict.fromkeys(("stop", "disconnect"), "close()"),
            **dict.fromkeys(("conn", "session"), "connection"),
            **dict.fromkeys(("upstream", "client", "peer_side", "opposite"), "other, or those of connection"),
            **dict.fromkeys(("state", "id", "reason"), "connection, which has it"),
            "port": "getpeername()[1]",
            "is_upstream": "not is_client",
            "readexactly": "read_exactly()",
            "readuntil": "read_until()",
            **dict.fromkeys(("readline", "read_line"), 'read_until(b"\\n")'),
        },
    )
    ConnectionNames = _base(
        "ConnectionNames",
        {
            **dict.fromkeys(
                ("peer", "peername", "address", "addr", "remote", "remote_address", "getpeername"),
                "client.getpeername(), or upstream.getpeername()",
            ),
            **dict.fromkeys(("send", "write", "sendall"), "client.send(), or upstream.send()"),
            **dict.fromkeys(("half_close", "shutdown"), "client.half_close(), or upstream.half_close()"),
            **dict.fromkeys(("server", "target", "backend"), "upstream"),
            **dict.fromkeys(("reset", "kill"), "abort()"),
            **dict.fromkeys(("stop", "disconnect"), "close()"),
            **dict.fromkeys(("data", "context", "user_data"), "state"),
            **dict.fromkeys(
                ("status", "is_open", "closed", "is_closed"), "phase, or reason, which is None while it lives"
            ),
            **dict.fromkeys(("stats", "bytes_sent", "bytes_received", "ledger"), "to_upstream and to_client"),
            "exception": "error",
        },
    )
