"""Runs of pytest within a test, with proxies before an upstream."""

from __future__ import annotations

from typing import Protocol

import pytest

BEGIN = """
import asyncio, socket
import pytest

UPSTREAM = {address!r}

def ask(proxy, data=b"hello"):
    with socket.create_connection(proxy.address, 10) as client:
        client.sendall(data)
        answer = client.recv(100)
        client.shutdown(socket.SHUT_WR)
        while client.recv(100):
            pass
        return answer
"""


# Of the plugins that are found by themselves, those that take seconds in each process and have no part here.
APART = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")


class Run(Protocol):
    """Runs tests of pytest; `apart` in a process of their own, which finds its plugins by itself."""

    def __call__(self, tests: str, *options: str, apart: bool = False) -> pytest.RunResult: ...


def output_of(result: pytest.RunResult) -> str:
    """What a run has printed."""
    return "\n".join(result.outlines)
