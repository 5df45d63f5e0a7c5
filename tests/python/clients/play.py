"""One client meets one fault."""

from __future__ import annotations

import concurrent.futures
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interpose.testing import Proxy

from .subject import LONG_NUMBER, Subject, answer_of
from .trouble import LIMIT, Trouble

# Whatever has no limit of its own is waited for as long.
LONGEST = 4 * LIMIT
FOR_EVER = "waits on"


@dataclass(frozen=True)
class Seen:
    """What a client does: with the question that meets the fault, and with the next."""

    first: str
    then: str


class Asking:
    """A client in a thread of its own, so that one that waits for ever is noticed."""

    def __init__(self, make: Callable[[], Subject]) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._subject = self._thread.submit(make).result(10)
        self._waiting: concurrent.futures.Future[str] | None = None

    def ask(self, number: int) -> str:
        """Return what comes of a question, in the words of the page."""
        begin = time.monotonic()
        self._waiting = self._thread.submit(self._subject.ask, number)
        concurrent.futures.wait([self._waiting], LONGEST)
        if not self._waiting.done():
            return FOR_EVER
        seconds = time.monotonic() - begin
        if (error := self._waiting.exception()) is not None:
            return f"{called(error)}{_later(seconds)}"
        if self._waiting.result() != answer_of(number):
            return f"another text{_later(seconds)}"
        return "the answer" if seconds < LIMIT else "the answer, behind its limit"

    def begin(self) -> None:
        """Ask without a fault. How long that takes is a matter of the machine."""
        came = self.ask(1)
        assert came.startswith("the answer"), came

    def settle(self) -> None:
        """Let a client that connects by itself do so."""
        self._thread.submit(self._subject.wait_ready).result(10)

    def released(self) -> None:
        """Wait until a question that waited for ever has come to an end."""
        if self._waiting is not None:
            concurrent.futures.wait([self._waiting], 10)
            assert self._waiting.done(), "it is stuck"

    def close(self) -> None:
        """Let go of the client."""
        self._thread.submit(self._subject.close).result(10)
        self._thread.shutdown()


def _later(seconds: float) -> str:
    if seconds < LIMIT * 0.8:
        return ""
    times = round(seconds / LIMIT - 0.1)
    return " at its limit" if times <= 1 else f" at {times} times its limit"


def called(error: BaseException) -> str:
    """Return the name by which a program would catch an error, with its code where there is one."""
    kind = type(error)
    if (code := getattr(error, "code", None)) is not None and callable(code) and hasattr(code(), "name"):
        return f"`grpc.RpcError` ({_name_of(code())})"
    module = kind.__module__
    # The shortest module that has the name.
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        short = ".".join(parts[:length])
        if getattr(sys.modules.get(short), kind.__name__, None) is kind:
            module = short
            break
    name = kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"
    if kind.__name__ == "NoMessageError":
        return f"no message ({error})"
    return f"`{name}`"


def _name_of(code: Any) -> str:
    return str(code.name)


def play(make: Callable[[str, int], Subject], trouble: Trouble, proxy: Proxy) -> Seen:
    """Have a client meet a fault; return what it does."""
    client = Asking(lambda: make(proxy.host, proxy.port))
    try:
        if not trouble.is_first:
            client.begin()
        if trouble.make is None:
            with proxy.refuse():
                first = client.ask(2)
            client.settle()
            return Seen(first, client.ask(3))
        fault = trouble.make()
        proxy.add(fault)
        if trouble.is_idle:
            client.begin()
            proxy.wait_closed(proxy.connections[-1], timeout=4)
        first = client.ask(LONG_NUMBER if trouble.is_long else 2)
        assert fault.strikes or not trouble.is_counted, f"{fault} has not struck"
        proxy.remove(fault)
        if first == FOR_EVER:
            proxy.reset_all()
            client.released()
        client.settle()
        return Seen(first, client.ask(3))
    finally:
        proxy.reset_all()
        client.released()
        client.close()
