"""Figures, as they are shown: what is zero is left out."""

from __future__ import annotations

import copy
import pickle

from conftest import Serve
from interpose import CloseReason, Ledger, TheServer
from support.deadline import poll
from support.peers import Echo, connect, ending


def test_a_ledger_shows_what_is_not_zero() -> None:
    assert repr(Ledger()) == "Ledger()"
    assert repr(Ledger(read=3, added=0, delivered=2, dropped=0, undeliverable=1)) == (
        "Ledger(read=3, delivered=2, undeliverable=1)"
    )
    assert Ledger(3, 0, 2, 0, 1) == Ledger(read=3, delivered=2, undeliverable=1)


def test_the_stats_of_a_new_server_show_its_limit() -> None:
    with TheServer("", 0, "example.org:80") as server:
        assert repr(server.stats) == f"Stats(max_connections={server.stats.max_connections})"
        assert repr(server.stats.closed) == "{}"


def test_stats_show_the_reasons_that_there_were(echo: Echo, serve: Serve) -> None:
    server = serve(echo.address)
    with connect(server.address) as client:
        client.sendall(b"abc")
        assert client.recv(3) == b"abc"
        assert "active=1" in repr(server.stats)
        client.shutdown(1)
        assert ending(client) == ("eof", b"")
    poll(lambda: server.stats.closed[CloseReason.FINISHED] == 1, 10.0, "the end is counted")
    stats = server.stats
    assert repr(stats.closed) == "{'finished': 1}"
    assert "accepted=1, closed={'finished': 1}, to_upstream=Ledger(read=3, delivered=3)" in repr(stats)
    assert stats.closed[CloseReason.CLIENT_RESET] == 0
    for copied in (copy.deepcopy(stats), pickle.loads(pickle.dumps(stats))):
        assert (copied, repr(copied)) == (stats, repr(stats))
