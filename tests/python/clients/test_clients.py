"""Each client meets each fault, and does what the page says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from interpose.testing import ProxyFactory

from .comparison import check, met
from .page import FOLDER
from .roster import CLIENTS, Ports
from .trouble import TROUBLES, Trouble

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    with ExitStack() as stack:
        yield Ports(stack, tmp_path_factory)


CELLS = [
    pytest.param(name, one, id=f"{name}-{one.label}", marks=pytest.mark.xdist_group(CLIENTS[name][1].__name__))
    for name in CLIENTS
    for one in TROUBLES
]


@pytest.mark.parametrize(("client", "trouble"), CELLS)
def test_it_does_what_the_page_says(client: str, trouble: Trouble, ports: Ports, tcp_proxy: ProxyFactory) -> None:
    if folder := os.environ.get(FOLDER):
        seen = met(client, trouble, ports, tcp_proxy)
        (Path(folder) / f"{client}--{trouble.label}.json").write_text(json.dumps(vars(seen)))
    else:
        check(client, trouble, ports, tcp_proxy)
