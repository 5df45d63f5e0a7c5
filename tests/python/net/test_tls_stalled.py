"""Handshakes that clients begin and never finish: what they may take, and that their time limit ends them.

Ten thousand at once are in `long/test_tls_stalled.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Serve
from interpose import Tls
from support.certificates import self_signed
from support.measurements import Record
from support.peers import connect, ending, listener
from support.stalled import BROKEN_OFF, SILENT, TOO_LONG, end, stall
from support.tls_peers import Ends


@pytest.mark.parametrize(("said", "most"), [(SILENT, 24_576), (BROKEN_OFF, 49_152)])
def test_a_handshake_that_stands_still_takes_bounded_memory(
    tmp_path: Path, said: bytes, most: int, record_property: Record
) -> None:
    held = stall(tmp_path, self_signed(tmp_path), 800, said)
    record_property("bytes_each", held.bytes_each)
    assert held.bytes_each < most


def test_the_time_limit_ends_them_all(tmp_path: Path) -> None:
    end(tmp_path, self_signed(tmp_path), 2000, BROKEN_OFF[:100])


def test_a_hello_that_does_not_end_is_refused(serve: Serve, tmp_path: Path) -> None:
    own, ends = self_signed(tmp_path), Ends()
    with listener() as upstream:
        server = serve(upstream.getsockname(), tls=Tls(own.cert, own.key), on_close=ends.on_close)
        with connect(server.address) as client:
            client.sendall(TOO_LONG)
            ending(client)
        conn = ends.next()
        assert (conn.reason, conn.error) == ("client_tls_failed", "the client sent a TLS hello longer than 16 KiB")
