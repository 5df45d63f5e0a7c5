"""The exceptions of interpose, and the text they carry."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return `text` with everything a terminal or a log could act on written as an escape.

    >>> printable("plain é, \x1b[2J\n")
    'plain é, \\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class InterposeError(Exception):
    """The base of every error of this package. Its text is one line: what, why and what to try.

    >>> from interpose import InterposeError, TheServer
    >>> try:
    ...     TheServer("", 70000, "example.org:80")
    ... except InterposeError as error:
    ...     print(error)
    port: it is not between 0 and 65535; give 0 for any free port
    """

    __module__ = "interpose"


class AddressError(InterposeError, ValueError):
    """A text is not an address.

    >>> from interpose import AddressError, Forward
    >>> try:
    ...     Forward("::1:9090")
    ... except AddressError:
    ...     print("an IPv6 address needs brackets")
    an IPv6 address needs brackets
    """

    __module__ = "interpose"


class ConfigError(InterposeError, ValueError):
    """A setting is missing, out of its range, or contradicts another one.

    >>> from interpose import ConfigError, Limits
    >>> try:
    ...     Limits(max_connections=0)
    ... except ConfigError as error:
    ...     print(error)
    max_connections: it is below 1; give at least 1
    """

    __module__ = "interpose"


class ArgumentTypeError(InterposeError, TypeError):
    """An argument has the wrong type.

    >>> from interpose import ArgumentTypeError, Timeouts
    >>> try:
    ...     Timeouts(idle="60")
    ... except ArgumentTypeError as error:
    ...     print(error)
    idle: it is str, not a number of seconds; give a float such as 10.0
    """

    __module__ = "interpose"


class _SystemError(InterposeError, OSError):
    """An error with the operating system's number, whose text is the message alone."""

    def __str__(self) -> str:
        return str(self.strerror or super().__str__())


class BindError(_SystemError):
    """The listening socket cannot be had. `errno` has the operating system's number.

    >>> from interpose import BindError, TheServer
    >>> first = TheServer("", 0, "example.org:80")
    >>> try:
    ...     TheServer("", first.address[1], "example.org:80")
    ... except BindError as error:
    ...     print(type(error.errno).__name__)
    int
    >>> first.stop()
    """

    __module__ = "interpose"


class BindPermissionError(BindError, PermissionError):
    """The listening socket needs a privilege that this process does not have.

    >>> from interpose import BindError, BindPermissionError
    >>> issubclass(BindPermissionError, BindError) and issubclass(BindPermissionError, PermissionError)
    True
    """

    __module__ = "interpose"


class ResolveError(_SystemError):
    """The name to listen on has no address.

    >>> from interpose import ResolveError
    >>> issubclass(ResolveError, OSError)
    True
    """

    __module__ = "interpose"


class ServerStoppedError(InterposeError, RuntimeError):
    """The server was stopped before; make another one.

    >>> from interpose import ServerStoppedError, TheServer
    >>> server = TheServer("", 0, "example.org:80")
    >>> server.stop()
    >>> try:
    ...     server.start()
    ... except ServerStoppedError as error:
    ...     print(error)
    server: it was stopped; make a new TheServer
    """

    __module__ = "interpose"


class ForkError(InterposeError, RuntimeError):
    """The object belongs to the process that this one was forked from.

    >>> from interpose import ForkError
    >>> issubclass(ForkError, RuntimeError)
    True
    """

    __module__ = "interpose"


class RuntimeStartError(InterposeError, RuntimeError):
    """The machine refused a thread, a descriptor or memory that the server needs to run.

    >>> from interpose import RuntimeStartError
    >>> issubclass(RuntimeStartError, RuntimeError)
    True
    """

    __module__ = "interpose"


class ConnectError(InterposeError, ConnectionError):
    """The upstream cannot be connected. Only what connects at once raises it; a client's connection ends instead.

    >>> from interpose import ConnectError
    >>> issubclass(ConnectError, OSError)
    True
    """

    __module__ = "interpose"


class NoUpstreamError(InterposeError, AttributeError):
    """A callback used `conn.upstream` before the upstream was connected, or where there is none: it is None then.

    >>> from interpose import NoUpstreamError
    >>> issubclass(NoUpstreamError, AttributeError)
    True
    """

    __module__ = "interpose"


class ConnectionClosedError(InterposeError, ConnectionError):
    """The connection has ended, or that direction of it, so nothing can be sent.

    >>> from interpose import ConnectionClosedError
    >>> issubclass(ConnectionClosedError, ConnectionError)
    True
    """

    __module__ = "interpose"


class StartTlsError(InterposeError, RuntimeError):
    """TLS cannot begin here: the side speaks it already, or nobody is called with what it says.

    >>> from interpose import StartTlsError
    >>> issubclass(StartTlsError, RuntimeError)
    True
    """

    __module__ = "interpose"


class SendBufferFullError(InterposeError, BlockingIOError):
    """A callback sent to a peer that does not read, and as much waits for it as may. Nothing of the call was taken.

    >>> from interpose import SendBufferFullError
    >>> issubclass(SendBufferFullError, BlockingIOError)
    True
    """

    __module__ = "interpose"


class SendTimeoutError(InterposeError, TimeoutError):
    """There was no room for the data within the timeout. Nothing of the call was taken.

    But of what is sent on a side of `Forward.start()` before it belongs to a connection, part may have been.

    >>> from interpose import SendTimeoutError
    >>> issubclass(SendTimeoutError, TimeoutError)
    True
    """

    __module__ = "interpose"


class RecvError(InterposeError, OSError):
    """recv() was called on a side whose data comes to a callback.

    >>> from interpose import RecvError
    >>> issubclass(RecvError, OSError)
    True
    """

    __module__ = "interpose"


class RecvTimeoutError(RecvError, TimeoutError):
    """Nothing came on a side of `Forward.start()` within the timeout.

    >>> from interpose import RecvTimeoutError
    >>> issubclass(RecvTimeoutError, TimeoutError)
    True
    """

    __module__ = "interpose"


class FramingError(InterposeError, ValueError):
    """The bytes given to `Framing.split()` break the protocol. What a connection sends ends that connection instead.

    >>> from interpose import FramingError, framing
    >>> try:
    ...     framing.tls_records().split(b"GET / HTTP/1.1")
    ... except FramingError as error:
    ...     print("this is not TLS")
    this is not TLS
    """

    __module__ = "interpose"


class ReadError(InterposeError, OSError):
    """A side cannot be read here, or not now: it is read in `async def` on_accept and on_connect alone.

    >>> from interpose import ReadError
    >>> issubclass(ReadError, OSError)
    True
    """

    __module__ = "interpose"


class ReadEndError(ReadError, EOFError):
    """The stream of a side has ended before what was to be read. What has come stays to be read, or to be relayed.

    >>> from interpose import ReadEndError, ReadError
    >>> issubclass(ReadEndError, ReadError) and issubclass(ReadEndError, EOFError)
    True
    """

    __module__ = "interpose"


class ReadLimitError(ReadError):
    """A side has sent as much as is held of it, and what was to be read has not ended by then. It stays to be read.

    >>> from interpose import ReadError, ReadLimitError
    >>> issubclass(ReadLimitError, ReadError)
    True
    """

    __module__ = "interpose"


class ReadTimeoutError(ReadError, TimeoutError):
    """A side has not sent what was to be read within the timeout. What has come stays to be read, or to be relayed.

    >>> from interpose import ReadError, ReadTimeoutError
    >>> issubclass(ReadTimeoutError, ReadError) and issubclass(ReadTimeoutError, TimeoutError)
    True
    """

    __module__ = "interpose"


class LaneError(InterposeError, RuntimeError):
    """The thread runs the callbacks of a server already, so it cannot run another's main loop.

    >>> from interpose import LaneError
    >>> issubclass(LaneError, RuntimeError)
    True
    """

    __module__ = "interpose"


class WaitTimeoutError(InterposeError, TimeoutError):
    """A test has waited, and it has not come within the timeout. The text has what was seen instead.

    >>> from interpose import WaitTimeoutError
    >>> issubclass(WaitTimeoutError, TimeoutError)
    True
    """

    __module__ = "interpose"


class ExpectationError(InterposeError, AssertionError):
    """An expectation of a test was not met at its end.

    >>> from interpose import ExpectationError
    >>> issubclass(ExpectationError, AssertionError)
    True
    """

    __module__ = "interpose"


class RecordError(InterposeError, ValueError):
    """A record of connections is broken, or is none, so it cannot be replayed.

    >>> from interpose import RecordError
    >>> issubclass(RecordError, ValueError)
    True
    """

    __module__ = "interpose"


class ReplayError(InterposeError, AssertionError):
    """A replay went on otherwise than the record. Each line of the text is one connection that did.

    >>> from interpose import ReplayError
    >>> issubclass(ReplayError, AssertionError)
    True
    """

    __module__ = "interpose"


def wrong_type(name: str, value: object, wanted: str, advice: str) -> ArgumentTypeError:
    """Say that the argument `name` is not what was `wanted`. The value's own text is never asked for."""
    return ArgumentTypeError(f"{name}: it is {printable(type(value).__name__)}, not {wanted}; {advice}")
