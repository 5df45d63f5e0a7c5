"""Clients of others do what docs/explanation/clients.md says: some of the table that tests/run clients makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from clients.comparison import check
from clients.page import fits, shown
from clients.play import Seen
from clients.roster import CLIENTS, Ports
from clients.trouble import TROUBLES, Trouble
from interpose.testing import ProxyFactory

SOME = ["refused", "byte by byte", "cut by FIN, answer", "cut by RST, answer", "swallowed, answer"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    with ExitStack() as stack:
        yield Ports(stack, tmp_path_factory)


@pytest.mark.parametrize("trouble", [one for one in TROUBLES if one.label in SOME], ids=lambda one: one.label)
@pytest.mark.parametrize("client", ["redis-py", "redis-py on asyncio", "httpx"])
def test_it_does_what_the_page_says(client: str, trouble: Trouble, ports: Ports, tcp_proxy: ProxyFactory) -> None:
    # How long it takes, the machine has a say in.
    check(client, trouble, ports, tcp_proxy, timing=False)


@pytest.mark.parametrize(
    ("first", "then", "timing", "same"),
    [
        ("`E` at its limit", "b", True, True),
        ("`E` at its limit", "c", True, True),
        ("`E` at its limit", "d", True, False),
        ("`E`", "b", True, False),
        ("`E` at 2 times its limit", "b", False, True),
        ("`F` at its limit", "b", False, False),
    ],
)
def test_what_fits_the_page(first: str, then: str, timing: bool, same: bool) -> None:
    assert fits(Seen("`E` at its limit", "b or c"), Seen(first, then), timing=timing) == same


def test_the_page_has_each_client_with_each_fault() -> None:
    labels = {one.label for one in TROUBLES}
    assert {client: labels ^ set(shown(client)) for client in CLIENTS} == {client: set() for client in CLIENTS}
