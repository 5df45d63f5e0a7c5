"""Data of every type, at every entry point: copied once and at once, or refused for its own reason."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import ArgumentTypeError, Connection, Forward, TheServer
from support.addresses import address_of
from support.callback_log import CallbackLog
from support.callbacks import CloseRecorder, from_data, without_arguments
from support.deadline import poll
from support.exchanges import exchange
from support.peers import Echo, bound_address, connect, listener, read_exactly
from support.scripts import passes, python

Send = Callable[[Any], int]
Way = tuple[Send, Callable[[int], bytes]]


class Pair(ctypes.Structure):
    _fields_ = (("OPX", ctypes.c_int16), ("name", ctypes.c_char_p))


class Numbers(ctypes.Structure):
    """Whose fields have names like formats of addresses."""

    _fields_ = (("OPX", ctypes.c_int16), ("Z", ctypes.c_int16))


# Arrays whose bytes are addresses of this process.
ADDRESSES: dict[str, Callable[[], Any]] = {
    "objects": lambda: (ctypes.py_object * 2)(),
    "one object": lambda: ctypes.py_object(1),
    "void pointers": lambda: (ctypes.c_void_p * 2)(1, 2),
    "pointers": lambda: (ctypes.POINTER(ctypes.c_int) * 2)(),
    "strings": lambda: (ctypes.c_char_p * 2)(b"a", b"b"),
    "functions": lambda: (ctypes.CFUNCTYPE(None) * 1)(),
    "a structure": lambda: Pair(1, b"a"),
    "a view of objects": lambda: memoryview((ctypes.py_object * 2)()),
    "a view cast to pointers": lambda: memoryview(bytes(16)).cast("P"),
}

OTHER_FORMATS: dict[str, tuple[Callable[[], Any], bytes]] = {
    "a structure of numbers": (lambda: Numbers(0x4141, 0x4242), b"AABB"),
    "one number": (lambda: ctypes.c_int32(0x41414141), b"AAAA"),
    "characters": (lambda: ctypes.create_string_buffer(b"abc", 3), b"abc"),
    "doubles": (lambda: memoryview(bytes(16)).cast("d"), bytes(16)),
    "columns": (lambda: memoryview(b"ABCD").cast("B", (2, 2)), b"ABCD"),
    "no dimension": (lambda: memoryview(b"AAAA").cast("I").cast("B").cast("I", []), b"AAAA"),
    "backwards, much of it": (lambda: memoryview(bytes(range(256)) * 8192)[::-1], bytes(range(255, -1, -1)) * 8192),
    "much": (lambda: bytearray(range(256)) * 8192, bytes(range(256)) * 8192),
    "nothing of much": (lambda: memoryview(bytes(1 << 20))[:0], b""),
}


def started() -> Iterator[Way]:
    """The side of Forward.start() before it belongs to a connection."""
    with listener() as listening:
        side = Forward(*bound_address(listening)).start()
        assert side
        with listening.accept()[0] as peer:
            yield side.send, lambda size: read_exactly(peer, size)
        side.close()


def connected() -> Iterator[Way]:
    """A side of a connection."""
    conns: list[Connection] = []

    def on_accept(conn: Connection) -> Forward:
        conns.append(conn)
        return Forward.NOWHERE

    with TheServer("", 0, on_accept=on_accept) as server:
        with connect(address_of(server)) as client:
            conn = poll(lambda: conns, 10.0, "it was accepted")[0]
            yield conn.client.send, lambda size: read_exactly(client, size)
        server.stop(0)


@pytest.fixture(params=[started, connected], ids=["started", "connected"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """A way to send, and to read what was sent."""
    yield from request.param()


@pytest.mark.parametrize("make", ADDRESSES.values(), ids=ADDRESSES)
def test_addresses_are_no_data(make: Callable[[], Any], way: Way) -> None:
    send, read = way
    with pytest.raises(ArgumentTypeError, match=r"^data: it is \S+ of objects or pointers, not bytes; give bytes,"):
        send(make())
    assert send(b"fine") == 4
    assert read(4) == b"fine"


@pytest.mark.parametrize(("make", "out"), OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_other_formats_are_sent_as_their_bytes(
    make: Callable[[], Any], out: bytes, way: Way, echo: Echo, serve: Serve
) -> None:
    send, read = way
    assert send(make()) == len(out)
    assert read(len(out)) == out
    server = serve(echo.address, on_client_recv=from_data(lambda data: [make(), data]))
    assert exchange(server) == ("eof", out + b"abc")


@pytest.mark.parametrize("make", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("listed", [False, True], ids=["alone", "in a list"])
def test_addresses_are_no_answer(
    make: Callable[[], Any], listed: bool, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    answer = without_arguments(lambda: [b"before", make()] if listed else make())
    assert exchange(serve(echo.address, on_client_recv=answer)) == ("reset", b"")
    line = callback_log.wait("on_client_recv returned")
    assert " of objects or pointers" in line
    assert line.endswith("; send what they refer to")


ADVICE = {
    "str": ("text", "such as text.encode()"),
    "int": (3, "such as str(number).encode()"),
    "bool": (True, "such as str(number).encode()"),
    "list": ([b"a"], 'such as b"".join(parts)'),
    "tuple": ((b"a",), 'such as b"".join(parts)'),
    "generator": ((part for part in [b"a"]), 'such as b"".join(parts)'),
    "dict": ({"a": 1}, "such as json.dumps(value).encode()"),
    "NoneType": (None, "there is nothing to send in None"),
    "object": (object(), "a bytearray or a memoryview"),
}


@pytest.mark.parametrize(("kind", "value", "advice"), [(kind, *rest) for kind, rest in ADVICE.items()], ids=ADVICE)
def test_the_advice_fits_what_was_sent(kind: str, value: Any, advice: str, way: Way) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        way[0](value)
    text = str(caught.value)
    assert text.startswith(f"data: it is {kind}, not bytes; give bytes")
    assert text.endswith(advice)


def yielding() -> Iterator[bytes]:
    yield b""


HINTS: dict[str, tuple[Callable[[bytes], Any], str]] = {
    "int": (lambda data: 3, '; send() returns a number: return b"" after it'),
    "bool": (lambda data: True, "; True and False say nothing here"),
    "str": (lambda data: "text", "; make bytes of it with encode()"),
    "generator": (lambda data: yielding(), "; a callback with a yield in it makes a generator: return a list"),
    "dict": (lambda data: {}, "; make bytes of it, such as json.dumps(value).encode()"),
    "set": (lambda data: {data}, "; a set has no order: give a list"),
    "list of str": (lambda data: [data, "text"], "; make bytes of it with encode()"),
    "list of None": (lambda data: [data, None], "; leave it out of the list"),
    "list of int": (lambda data: list(data), "; bytes(numbers) makes bytes of a list of numbers"),
    "list of lists": (lambda data: [[data]], "; give one list, without lists in it"),
    "tuple of bool": (lambda data: (data, False), "; True and False say nothing here"),
    "object": (lambda data: object(), 'b"" drops it)'),
}


@pytest.mark.parametrize(("make", "hint"), HINTS.values(), ids=HINTS)
def test_the_advice_fits_what_was_answered(
    make: Callable[[bytes], Any], hint: str, echo: Echo, serve: Serve, callback_log: CallbackLog
) -> None:
    exchange(serve(echo.address, on_client_recv=from_data(make)))
    assert callback_log.wait("on_client_recv returned").endswith(hint)


def test_the_advice_for_a_number_fits_the_end(echo: Echo, serve: Serve, callback_log: CallbackLog) -> None:
    exchange(serve(echo.address, on_eof=without_arguments(lambda: 3)))
    assert callback_log.wait("on_eof returned int").endswith("; send() returns a number: return None after it")


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


class Failing:
    """Whose own code makes its buffer, since Python 3.12."""

    def __buffer__(self, flags: int) -> memoryview:
        raise LookupError("no buffer today")


class FailingBytes(bytes):
    def __buffer__(self, flags: int) -> memoryview:
        raise LookupError("no buffer today")


RAISING: list[Any] = [pytest.param(released, ValueError, "released memoryview", id="released view")]
if sys.version_info >= (3, 12):
    RAISING += [
        pytest.param(kind, LookupError, "no buffer today", id=kind.__name__) for kind in (Failing, FailingBytes)
    ]


@pytest.mark.parametrize(("make", "error", "words"), RAISING)
def test_what_a_buffers_own_code_raises_comes_out_of_send(
    make: Callable[[], Any], error: type[Exception], words: str, way: Way
) -> None:
    with pytest.raises(error, match=words) as caught:
        way[0](make())
    assert type(caught.value) is error


@pytest.mark.parametrize(("make", "error", "words"), RAISING)
@pytest.mark.parametrize("place", ["on_client_recv", "on_eof"])
@pytest.mark.parametrize("listed", [False, True], ids=["alone", "in a list"])
def test_what_a_buffers_own_code_raises_is_the_callbacks_error(
    place: str,
    listed: bool,
    make: Callable[[], Any],
    error: type[Exception],
    words: str,
    echo: Echo,
    serve: Serve,
    callback_log: CallbackLog,
) -> None:
    ends = CloseRecorder()
    answer = without_arguments(lambda: [b"a", make()] if listed else make())
    exchange(serve(echo.address, on_close=ends, **{place: answer}))
    line = callback_log.wait(f"{place} raised {error.__name__}: ")
    assert words in line
    reason = ends.wait().error
    assert reason is not None
    assert reason.startswith(f"{place} raised {error.__name__}: ")


def test_nothing_is_sent_at_once_whatever_waits(way: Way) -> None:
    send, read = way
    for nothing in (b"", bytearray(), memoryview(b"abc")[3:], (ctypes.c_char * 0)()):
        assert send(nothing) == 0
    assert send(b"fine") == 4
    assert read(4) == b"fine"


@pytest.mark.parametrize("kind", ["started", "connected"])
def test_what_waits_was_copied_when_send_was_called(kind: str, tmp_path: Path) -> None:
    """Signal handlers run meanwhile, in which the buffer may be changed, even resized: nobody holds it."""
    text = """
        import signal, sys, threading
        from interpose import Forward, SendTimeoutError, TheServer
        from support.deadline import poll
        from support.peers import bound_address, connect, listener, read_exactly
        size, ahead, data = 32 << 20, 0, bytearray(b"a") * (32 << 20)
        got, fired, readers = [], [], []
        def read():
            got.append(read_exactly(peer, ahead + size)[ahead:])
        def on_alarm(number, frame):
            fired.append("send" in frame.f_code.co_name)
            # The third in a row within the call: it has begun to wait before.
            if fired[-3:] == [True] * 3 and not readers:
                data[:] = b"b" * 10
                readers.append(threading.Thread(target=read))
                readers[0].start()
        with listener() as listening:
            if sys.argv[1] == "started":
                side, peer = Forward(*bound_address(listening)).start(), listening.accept()[0]
            else:
                server = TheServer("", 0, bound_address(listening)).start()
                client, peer = connect(server.address), listening.accept()[0]
                conn = poll(lambda: [one for one in server.connections if one.phase == "open"], 10.0, "it is open")[0]
                side = conn.upstream
                try:
                    while True:
                        ahead += side.send(bytes(1 << 20), timeout=0.1)
                except SendTimeoutError:
                    pass
            signal.signal(signal.SIGALRM, on_alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.06, 0.06)
            print(side.send(data, 30.0) == size)
            signal.setitimer(signal.ITIMER_REAL, 0)
            readers[0].join(30)
            print(got[0] == b"a" * size, len(data))
    """
    assert passes(tmp_path, text, kind, seconds=60.0) == "True\nTrue 10\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_data_too_large_for_memory_is_refused_and_hurts_nobody_else(tmp_path: Path) -> None:
    text = """
    import mmap, resource, threading
    from interpose import Forward, TheServer
    from support.deadline import poll
    from support.peers import bound_address, connect, ending, listener, Echo, echo as echoed
    large = mmap.mmap(-1, 512 << 20)
    answers = {b"a": large, b"b": [b"x", memoryview(large)[::-1]], b"e": b"e"}
    ends = []
    with Echo() as upstream, listener() as listening, TheServer(
        "", 0, upstream.address, on_client_recv=lambda side, data: answers[data], on_close=ends.append
    ) as server:
        side, peer = Forward(*bound_address(listening)).start(), listening.accept()[0]
        other = connect(server.address)
        assert echoed(other, b"e") == b"e"
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))
        for sender in (side, server.connections[0].client):
            for data in (large, memoryview(large)[::-1]):
                try:
                    sender.send(data)
                except MemoryError as error:
                    print(error)
        for word in (b"a", b"b"):
            with connect(server.address) as client:
                client.sendall(word)
                print(ending(client)[0])
        poll(lambda: len(ends) == 2, 10.0, "both have ended")
        print(*(str(end.error)[:34].rstrip() for end in ends), sep="\\n")
        print(echoed(other, b"e"))
        other.close(); peer.close(); side.close()
    """
    ended = python(tmp_path, text, seconds=60.0)
    assert ended.code == 0, ended
    refused = (
        "data: there is no memory for a copy of its 536870912 bytes; give it in parts, or as bytes, which need none\n"
    )
    assert ended.out == 4 * refused + 2 * "reset\n" + 2 * "on_client_recv raised MemoryError:\n" + "b'e'\n"
