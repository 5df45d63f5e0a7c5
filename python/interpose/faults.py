r"""Faults: a network that misbehaves on purpose, exactly and repeatably. No callback, and no Python while bytes flow.

    from interpose import TheServer, faults

    with TheServer("", 0, "127.0.0.1:6379", faults=[faults.Latency(0.2)]) as server: ...

A server has a list of faults, which act in their order, behind callbacks and filters. `server.add_fault()` and
`server.remove_fault()` change it while it runs, for live connections as well; `with server.fault(...)` does both.

Every fault takes these conditions:

* `direction`: `"both"`, `"to_upstream"` or `"to_client"`.
* `after_bytes`: the bytes of the direction that pass before.
* `on_match`: bytes, text or a compiled regular expression. In a stream it strikes right behind the match. Where the
  server has a framing, it strikes the message that has the match. A function is called with each message (with each
  read, where there is no framing), and says by true or false whether the fault strikes it.
* `nth`, `times`: the number of the first occurrence at which it strikes, and the most strikes, over all connections:
  `nth=2` alone is the second time only.
* `only`: a function of the connection, asked once for each direction: true if the fault concerns it.
* `probability`: of a strike at an occurrence. What is drawn follows from the server's `seed`, the number of the
  connection, the direction and the fault's place in the list, and from nothing else.

RefuseConnect, SlowConnect and Flap have conditions of their own. A subclass of Scripted is a fault of one's own.
Functions (of `only`, of `on_match`, `on_data`) run where plain callbacks do, and bytes wait for them; without any, no
Python runs.

Without `on_match` there is one occurrence in each direction of a connection: exactly behind `after_bytes`. With `nth`
and a framing each message is one.

>>> import socket
>>> from interpose import Forward, TheServer, faults
>>> with TheServer("", 0, "127.0.0.1:7070", faults=[faults.Cut(after_bytes=3, direction="to_client")]) as server:
...     with socket.create_connection(server.address) as client:
...         client.sendall(b"hello")
...         client.recv(100), client.recv(100)
(b'hel', b'')
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, Unpack, cast

from ._actions import Actions
from ._checks import choice, count
from ._checks import seconds as duration
from ._connect_faults import ConnectConditions, Down, Flap, RefuseConnect, SlowConnect
from ._exceptions import ArgumentTypeError, wrong_type
from ._fault import MOST_BYTES, WHEN, Conditions, Direction, Fault, Pattern, When
from ._fault_names import FAULT_ARGUMENTS, FAULTS
from ._message_faults import Corrupt, Drop, Duplicate, Truncate
from ._names import names_checked, nearest
from ._scripted import Scripted
from ._toxics import Stream, described

__all__ = [
    "Actions",
    "Bandwidth",
    "Blackhole",
    "CloseAfter",
    "Conditions",
    "ConnectConditions",
    "Corrupt",
    "Cut",
    "Direction",
    "Down",
    "Drop",
    "Duplicate",
    "Fault",
    "Flap",
    "HalfClose",
    "Latency",
    "Pattern",
    "RefuseConnect",
    "Reset",
    "Scripted",
    "Slicer",
    "SlowClose",
    "SlowConnect",
    "Stall",
    "Truncate",
    "When",
    "toxic",
]

How: TypeAlias = Literal["fin", "reset", "stall"]
"""How a connection is cut."""

_HOW = ("fin", "reset", "stall")


class Latency(Fault):
    """Delays bytes and ends. It does not limit bandwidth, as long as `hold` is enough for bandwidth times delay.

    * `delay`: seconds. `jitter`: seconds by which the delay of a read differs; the order of bytes stays.
    * `hold`: the bytes of memory that each direction of a connection holds at most, also with a unit; beyond, the side
      that sends meets backpressure. All of the process hold 1 GiB at most, or four times the largest `hold`, and many
      that want more have equal parts of it.
    * `distribution`: `"uniform"` is from `-jitter` to `jitter`, `"normal"` has it as deviation, `"pareto"` is never
      less than `delay` and seldom much more.

    >>> from interpose import faults
    >>> faults.Latency(0.2, jitter=0.05, direction="to_client")
    faults.Latency(delay=0.2, jitter=0.05, direction='to_client')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(
        self,
        delay: float,
        jitter: float = 0.0,
        distribution: Literal["uniform", "normal", "pareto"] = "uniform",
        hold: int | str = "256MiB",
        **when: Unpack[When],
    ) -> None:
        given: dict[str, object] = {"delay": delay}
        given.update({"jitter": jitter} if jitter else {})
        given.update({"distribution": distribution} if distribution != "uniform" else {})
        given.update({"hold": hold} if hold != "256MiB" else {})
        times = (duration("delay", delay, zero=True), duration("jitter", jitter, zero=True))
        word = choice("distribution", distribution, ("uniform", "normal", "pareto"))
        self._made("latency", when, given=given, seconds=times, counts=(_amount("hold", hold, 1), 0), word=word)


class Bandwidth(Fault):
    """Lets at most `rate` bytes a second through, and after a pause `burst` bytes at once.

    Either may be a text with a unit: `"10MB/s"`, `"64KiB"`. Without `burst` it is a tenth of a second's bytes.

    >>> from interpose import faults
    >>> faults.Bandwidth("64KiB/s")
    faults.Bandwidth(rate='64KiB/s')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, rate: float | str, burst: int | str | None = None, **when: Unpack[When]) -> None:
        most = _amount("rate", rate, 1)
        at_once = max(1, most // 10) if burst is None else _amount("burst", burst, 1)
        given = {"rate": rate} if burst is None else {"rate": rate, "burst": burst}
        self._made("bandwidth", when, given=cast("dict[str, object]", given), counts=(most, at_once))


class Slicer(Fault):
    """Cuts what passes into pieces of `size` bytes, up to `variation` more or fewer, with `delay` seconds between them.

    >>> from interpose import faults
    >>> faults.Slicer(1, delay=0.01)
    faults.Slicer(size=1, variation=0, delay=0.01)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, size: int, variation: int = 0, delay: float = 0.0, **when: Unpack[When]) -> None:
        counts = (count("size", size, 1), count("variation", variation, 0))
        given: dict[str, object] = {"size": size, "variation": variation, "delay": delay}
        self._made("slicer", when, given=given, seconds=(duration("delay", delay, zero=True), 0.0), counts=counts)


class Cut(Fault):
    """Ends the connection once exactly `after_bytes` have passed in a direction.

    * `how`: `"fin"` is an end of stream to both sides; `"reset"` is RST to both, once the system of the one that gets
      the bytes has them; with `"stall"` nothing more is read or written in the direction.

    The connection's close reason is `"fault"`.

    >>> from interpose import faults
    >>> faults.Cut(1000, how="reset")
    faults.Cut(after_bytes=1000, how='reset')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, after_bytes: int = 0, how: How = "fin", **when: Unpack[Conditions]) -> None:
        given: dict[str, object] = {"after_bytes": after_bytes, "how": how}
        self._made("cut", {**when, "after_bytes": after_bytes}, given=given, word=choice("how", how, _HOW))


class Reset(Fault):
    """Resets the connection, both ways. Cut(how="reset") by a shorter name.

    >>> from interpose import faults
    >>> faults.Reset(on_match=b"GET", times=1)
    faults.Reset(on_match=b'GET', times=1)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("cut", when, word="reset")


class Stall(Fault):
    """Reads and writes nothing more in a direction, until it is taken away: the side that sends meets backpressure.

    >>> from interpose import faults
    >>> faults.Stall(direction="to_client", after_bytes=100)
    faults.Stall(direction='to_client', after_bytes=100)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("stall", when)


class Blackhole(Fault):
    """Reads everything and passes on nothing, neither bytes nor the end: the side that sends notices nothing.

    >>> from interpose import faults
    >>> faults.Blackhole(nth=2)
    faults.Blackhole(nth=2)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("blackhole", when)


class HalfClose(Fault):
    """Ends one direction in order; the other stays open. What the source sends from then on is not read.

    >>> from interpose import faults
    >>> faults.HalfClose(direction="to_client", after_bytes=10)
    faults.HalfClose(direction='to_client', after_bytes=10)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("half_close", when)


class CloseAfter(Fault):
    """Ends the connection some `seconds` after it struck, which without conditions is when the relay begins.

    * `how`: as for Cut.

    >>> from interpose import faults
    >>> faults.CloseAfter(1.5, how="reset")
    faults.CloseAfter(seconds=1.5, how='reset')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, seconds: float, how: How = "fin", **when: Unpack[When]) -> None:
        given: dict[str, object] = {"seconds": seconds, "how": how}
        later, word = duration("seconds", seconds, zero=True), choice("how", how, _HOW)
        self._made("close_after", when, given=given, seconds=(later, 0.0), word=word)


class SlowClose(Fault):
    """Delays the end of a direction by `delay` seconds, and nothing else.

    >>> from interpose import faults
    >>> faults.SlowClose(0.5)
    faults.SlowClose(delay=0.5)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, delay: float, **when: Unpack[When]) -> None:
        self._made("slow_close", when, given={"delay": delay}, seconds=(duration("delay", delay, zero=True), 0.0))


def toxic(type: str, stream: Stream = "downstream", toxicity: float = 1.0, **attributes: int) -> list[Fault]:  # noqa: A002
    """Return the faults that do what toxiproxy's toxic of this type does; mostly one, for `timeout` two.

    * `stream`: `"downstream"` is to the client, `"upstream"` to the upstream. `toxicity`: the probability.
    * attributes, in toxiproxy's units: `latency`, `jitter`, `timeout` and `slow_close`'s `delay` in milliseconds,
      `rate` in KB a second, `slicer`'s `delay` in microseconds, `average_size`, `size_variation` and `bytes` in bytes.

    Unlike toxiproxy's, `reset_peer` always resets, and a seed fixes what is drawn. Raises ArgumentTypeError and
    ConfigError.

    >>> from interpose import faults
    >>> faults.toxic("latency", latency=1000, jitter=50)
    [faults.Latency(delay=1.0, jitter=0.05, direction='to_client', probability=1.0)]
    """
    made: dict[str, Any] = {name: globals()[name] for name in _KINDS}
    return [made[name](*arguments, **when) for name, arguments, when in described(type, stream, toxicity, attributes)]


def _amount(name: str, value: object, least: int) -> int:
    """Return a number of bytes, which may be a text with a unit."""
    if isinstance(value, str):
        from ._sizes import Rate, Size

        read = Rate() if name == "rate" and "/" in value else Size()
        return count(name, read.read(name, value), least, MOST_BYTES)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return count(name, value, least, MOST_BYTES)


def faults_of(value: object) -> list[Fault]:
    """Return the faults of a server or a side, or raise ArgumentTypeError."""
    advice = "give a list such as [faults.Latency(0.2)]"
    if isinstance(value, Fault):
        raise ArgumentTypeError(f"faults: it is one fault, not a list of them; write [{value!r}]")
    if isinstance(value, str) or not isinstance(value, Iterable):
        near = nearest(value, _KINDS, FAULTS) if isinstance(value, str) else None
        raise wrong_type("faults", value, "a list of faults", f"write [faults.{near}(...)]" if near else advice)
    found: list[Fault] = []
    for one in cast("Iterable[object]", value):
        for kind in Fault.__subclasses__():
            if one is kind:
                raise ArgumentTypeError(f"faults: {kind.__name__} is the class; write faults.{kind.__name__}(...)")
        if isinstance(one, Fault):
            found.append(one)
        else:
            raise wrong_type("faults", one, "a fault", advice)
    return found


_KINDS = tuple(sorted(one.__name__ for one in Fault.__subclasses__()))


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    near = nearest(name, _KINDS, FAULTS)
    raise AttributeError(
        f"faults: there is no {name}; " + (f"did you mean {near}?" if near else f"there are {', '.join(_KINDS)}")
    )
