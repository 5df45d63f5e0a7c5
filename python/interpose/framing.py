r"""Framings: where the messages of a protocol end, so that callbacks get whole messages instead of chunks.

    from interpose import TheServer, framing

    TheServer("", 9090, "127.0.0.1:7070", framing=framing.lines(), on_recv=on_recv).main_loop()

`on_recv` is called with exactly one message then, delimiter and header included. Each function below returns a Framing
for a server, for one direction of it, or for one side of a connection. Framings without a server cut bytes, too:

>>> from interpose import framing
>>> framing.lines().split(b"GET a\nGET b\nGE")
[b'GET a\n', b'GET b\n', b'GE']
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, NoReturn, cast

from . import _native
from ._checks import count, flag
from ._exceptions import ArgumentTypeError, ConfigError, printable, wrong_type
from ._names import (
    CUSTOM_ARGUMENTS,
    DELIMITED_ARGUMENTS,
    FIXED_ARGUMENTS,
    FRAMINGS,
    LENGTH_ARGUMENTS,
    names_checked,
    nearest,
    no_such,
)
from ._side import Buffer

__all__ = [
    "Framing",
    "custom",
    "delimited",
    "dns",
    "fixed",
    "http1",
    "length_prefixed",
    "lines",
    "modbus",
    "mqtt",
    "mysql",
    "postgres",
    "resp",
    "tls_records",
    "varint",
]


class Framing:
    """Where the messages of a protocol end. Made by the functions of this module.

    It cannot be changed, compares by value, and may be shared: each connection has a state of its own.
    """

    __slots__ = ("_arguments", "_name", "_native")

    _name: str
    _arguments: dict[str, Any]
    _native: _native.Framing

    def __init__(self, *_: object, **__: object) -> None:
        raise ArgumentTypeError("Framing: it is made by a function of interpose.framing; write framing.lines()")

    @property
    def name(self) -> str:
        """The name of the function that made it.

        >>> from interpose import framing
        >>> framing.fixed(4).name
        'fixed'
        """
        return self._name

    def split(self, data: Buffer, *, client: bool = True) -> list[bytes]:
        r"""Cut `data` as the stream of a new connection: the client's, or the upstream's where `client` is False.

        Return the whole messages, and as the last item what is left: the beginning of a message that is not whole, or
        bytes of a stream that ends its framing (as after an HTTP upgrade), `b""` where nothing is left. So the items
        joined are `data`, and `*messages, rest = framing.lines().split(data)` takes them apart.

        Raises FramingError where `data` breaks the protocol, ArgumentTypeError, and what the function of a custom
        framing raises.

        >>> from interpose import framing
        >>> framing.length_prefixed(1).split(b"\x02hi\x05the")
        [b'\x02hi', b'\x05the']
        >>> framing.lines().split(b"one\n")
        [b'one\n', b'']
        """
        return self._native.split(data, flag("client", client))

    def __repr__(self) -> str:
        # A first argument reads best without its name.
        names = [f"{name}=" if number else "" for number, name in enumerate(self._arguments)]
        shown = ", ".join(f"{name}{value!r}" for name, value in zip(names, self._arguments.values(), strict=True))
        return f"framing.{self._name}({shown})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Framing):
            return NotImplemented
        return (self._name, self._arguments) == (other._name, other._arguments)

    def __hash__(self) -> int:
        return hash((self._name, *self._arguments.values()))

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self._name, self._arguments)


def _again(name: str, arguments: dict[str, Any]) -> Framing:
    """Make a framing that was pickled or copied."""
    made: Framing = globals()[name](**arguments)
    return made


def _framing(name: str, native: _native.Framing, /, **arguments: object) -> Framing:
    """Return the framing that the function `name` makes of `arguments`, of which defaults are left out."""
    made = Framing.__new__(Framing)
    # A module is as private as its class: users make framings by its functions only.
    made._name, made._arguments, made._native = name, arguments, native  # pyright: ignore[reportPrivateUsage]
    return made


@names_checked({}, first=0, sample="framing.lines()")
def lines() -> Framing:
    r"""Return the framing of lines: a message ends with `b"\n"`, which is part of it, as is a `b"\r"` before it.

    >>> from interpose import framing
    >>> framing.lines().split(b"one\r\ntwo\nth")
    [b'one\r\n', b'two\n', b'th']
    """
    return _framing("lines", _native.Framing.lines())


@names_checked(DELIMITED_ARGUMENTS, first=0, sample='framing.delimited(b"\\r\\n")')
def delimited(delimiter: bytes) -> Framing:
    r"""Return the framing of messages that end with `delimiter`, which is part of each.

    Raises ArgumentTypeError for what is no bytes, and ConfigError for an empty delimiter.

    >>> from interpose import framing
    >>> framing.delimited(b"\0").split(b"one\0two")
    [b'one\x00', b'two']
    """
    given = cast("object", delimiter)
    if not isinstance(given, bytes):
        advice = f"write {given.encode()!r}" if isinstance(given, str) and given.isascii() else 'write b"\\r\\n"'
        raise wrong_type("delimiter", given, "bytes", advice)
    return _framing("delimited", _native.Framing.delimited(delimiter), delimiter=delimiter)


@names_checked(FIXED_ARGUMENTS, first=0, sample="framing.fixed(16)")
def fixed(n: int) -> Framing:
    """Return the framing of messages of `n` bytes each.

    Raises ArgumentTypeError for what is no int, and ConfigError for less than 1 or more than 2,147,483,647.

    >>> from interpose import framing
    >>> framing.fixed(2).split(b"abcde")
    [b'ab', b'cd', b'e']
    """
    n = count("n", n, 1)
    return _framing("fixed", _native.Framing.fixed(n), n=n)


@names_checked(LENGTH_ARGUMENTS, first=0, sample="framing.length_prefixed(4)")
def length_prefixed(
    width: int, offset: int = 0, byteorder: Literal["big", "little"] = "big", adjust: int = 0
) -> Framing:
    r"""Return the framing of messages that say their length before they come.

    * `width`: the bytes of the length field, 1 to 8.
    * `offset`: the bytes of a message before its length field.
    * `byteorder`: `"big"`, as most protocols have it, or `"little"`.
    * `adjust`: what is added to the field's value. The sum is the number of bytes behind the field: 0 where the field
      counts those, `-width` where it counts itself as well, `-(offset + width)` where it counts the whole message.

    What a callback returns in place of a message has its length field set right.

    Raises ArgumentTypeError for what is no int or no text, and ConfigError for what is out of range.

    >>> from interpose import framing
    >>> framing.length_prefixed(2, adjust=-2).split(b"\0\4hi\0\3!")
    [b'\x00\x04hi', b'\x00\x03!', b'']
    """
    width = count("width", width, 1, 8)
    offset = count("offset", offset, 0)
    adjust = count("adjust", adjust, -(2**31), 2**31 - 1)
    native = _native.Framing.length_prefixed(width, offset, _is_big(byteorder), adjust)
    given = {"offset": (offset, 0), "byteorder": (byteorder, "big"), "adjust": (adjust, 0)}
    others = {name: value for name, (value, default) in given.items() if value != default}
    return _framing("length_prefixed", native, width=width, **others)


def _is_big(byteorder: object) -> bool:
    if not isinstance(byteorder, str):
        raise wrong_type("byteorder", byteorder, "a text", 'give "big" or "little"')
    if byteorder not in ("big", "little"):
        meant = nearest(byteorder, ("big", "little"), _BYTE_ORDERS)
        advice = f'did you mean "{meant}"?' if meant else "give one of them"
        raise ConfigError(f'byteorder: {printable(byteorder)!r} is neither "big" nor "little"; {advice}')
    return byteorder == "big"


_BYTE_ORDERS = {
    **dict.fromkeys(("network", "net", "be", "bigendian", ">", "!", "msb", "motorola"), "big"),
    **dict.fromkeys(("le", "littleendian", "<", "lsb", "intel"), "little"),
}


@names_checked({}, first=0, sample="framing.varint()")
def varint() -> Framing:
    r"""Return the framing of messages behind their length as a varint, as Protocol Buffers write it: LEB128.

    What a callback returns in place of a message has its length set right.

    >>> from interpose import framing
    >>> framing.varint().split(b"\x02hi\x03")
    [b'\x02hi', b'\x03']
    """
    return _framing("varint", _native.Framing.varint())


@names_checked({}, first=0, sample="framing.tls_records()")
def tls_records() -> Framing:
    r"""Return the framing of TLS: a message is a record, with its header of 5 bytes, whose length is set right.

    >>> from interpose import framing
    >>> framing.tls_records().split(b"\x15\x03\x03\0\x02\1\0")
    [b'\x15\x03\x03\x00\x02\x01\x00', b'']
    """
    return _framing("tls_records", _native.Framing.tls_records())


@names_checked({}, first=0, sample="framing.resp()")
def resp() -> Framing:
    r"""Return the framing of Redis, RESP2 and RESP3: a message is a whole command or reply, however deep.

    >>> from interpose import framing
    >>> framing.resp().split(b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nPING\r\n")
    [b'*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n', b'PING\r\n', b'']
    """
    return _framing("resp", _native.Framing.resp())


@names_checked({}, first=0, sample="framing.postgres()")
def postgres() -> Framing:
    r"""Return the framing of PostgreSQL's protocol, version 3: a message with its type and length, which is set right.

    The client's first messages have no type, and the answer to a request for TLS or GSSAPI is one byte. Behind a
    granted request the bytes are encrypted: they are passed on as they come.

    >>> from interpose import framing
    >>> framing.postgres().split(b"Z\0\0\0\5I", client=False)
    [b'Z\x00\x00\x00\x05I', b'']
    """
    return _framing("postgres", _native.Framing.postgres())


@names_checked({}, first=0, sample="framing.mysql()")
def mysql() -> Framing:
    r"""Return the framing of MySQL and MariaDB: a message is a packet, with its header of 4 bytes.

    >>> from interpose import framing
    >>> framing.mysql().split(b"\1\0\0\1\0", client=False)
    [b'\x01\x00\x00\x01\x00', b'']
    """
    return _framing("mysql", _native.Framing.mysql())


@names_checked({}, first=0, sample="framing.mqtt()")
def mqtt() -> Framing:
    r"""Return the framing of MQTT: a message is a control packet, whose remaining length is set right.

    >>> from interpose import framing
    >>> framing.mqtt().split(b"\xc0\0\xd0")
    [b'\xc0\x00', b'\xd0']
    """
    return _framing("mqtt", _native.Framing.mqtt())


@names_checked({}, first=0, sample="framing.modbus()")
def modbus() -> Framing:
    r"""Return the framing of Modbus/TCP: a message is a request or an answer with its header; its length is set right.

    >>> from interpose import framing
    >>> framing.modbus().split(b"\0\1\0\0\0\6\1\3\0\0\0\2")
    [b'\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x02', b'']
    """
    return _framing("modbus", _native.Framing.modbus())


@names_checked({}, first=0, sample="framing.dns()")
def dns() -> Framing:
    r"""Return the framing of DNS over TCP: a message behind two bytes of length, which are set right.

    >>> from interpose import framing
    >>> len(framing.dns().split(b"\0\x0c" + bytes(12)))
    2
    """
    return _framing("dns", _native.Framing.dns())


@names_checked({}, first=0, sample="framing.http1()")
def http1() -> Framing:
    r"""Return the framing of HTTP/1: a message is a request or a response, its head with its body.

    A body has the length that its head says, or comes in chunks, or lasts until the end of the stream. Behind a granted
    upgrade or CONNECT the bytes are passed on as they come.

    >>> from interpose import framing
    >>> framing.http1().split(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b")
    [b'GET / HTTP/1.1\r\nHost: a\r\n\r\n', b'GET /b']
    """
    return _framing("http1", _native.Framing.http1())


@names_checked(CUSTOM_ARGUMENTS, first=0, sample="framing.custom(function)")
def custom(function: Callable[[memoryview], int | None]) -> Framing:
    r"""Return the framing of a function: it is called with the bytes from the beginning of a message on.

    It returns the number of bytes of that message, header and delimiter included, or None while more have to come. What
    it gets is a read-only memoryview, because a copy of all that has come so far, each time that more comes, would make
    a long message costly: `int.from_bytes(buffer[:4])` and `struct.unpack_from` read it as it is, `bytes(buffer)` is a
    copy. It runs where callbacks do, and what it returns that is no such number is an error as in a callback.

    Raises ArgumentTypeError for what cannot be called so.

    >>> from interpose import framing
    >>> def cut(buffer):
    ...     return 1 + buffer[0] if len(buffer) > buffer[0] else None
    >>> framing.custom(cut).split(bytes([2]) + b"hi" + bytes([3]) + b"th")
    [b'\x02hi', b'\x03th']
    """
    _check_function(function)
    return _framing("custom", _native.Framing.custom(function), function=function)


def _check_function(function: object) -> None:
    """Raise for what cannot be called as the function of a custom framing."""
    wanted = "give one that can be called as function(buffer)"
    made = next((name for name in __all__ if function is globals()[name]), None)
    if made is not None:
        raise ArgumentTypeError(f"function: framing.{made} makes a Framing; write framing=framing.{made}(...)")
    if isinstance(function, Framing):
        raise ArgumentTypeError(f"function: it is a Framing already; write framing={function!r}")
    if not callable(function):
        raise wrong_type("function", function, "a function", wanted)
    for one in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(one):
            raise ArgumentTypeError(
                "function: it is async def, and a stream cannot wait for where it is cut; give a plain def"
            )
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise ArgumentTypeError(
                "function: it has a yield, and is called anew for each message; return the message's length"
            )
    try:
        inspect.signature(function).bind(b"")
    except ValueError:
        pass  # A built-in without a signature.
    except TypeError:
        takes = printable(str(inspect.signature(function)))
        raise ArgumentTypeError(f"function: it takes {takes}, and is called with one buffer; {wanted}") from None


def __getattr__(name: str) -> NoReturn:
    meant = None if name.startswith("_") else nearest(name, __all__, FRAMINGS)
    raise AttributeError(no_such(name, f"module {__name__!r}", meant))
