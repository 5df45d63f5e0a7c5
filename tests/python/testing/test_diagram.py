"""The diagram of a transcript: what has passed, in rows that a person can read, and never too many."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from interpose import Side, framing
from interpose.testing import Event, Proxy
from interpose.testing._diagram import diagram, rows_of
from interpose.testing._drawing import drawing
from support.peers import Echo, connect, read_exactly

UP, DOWN = "to_upstream", "to_client"


def data(at: float, direction: str, content: bytes, *, sent_on: bool = False, number: int = 1) -> Event:
    return Event(at, number, "data", direction, sent_on, data=content)


def lines_of(events: list[Event], missed: int = 0) -> list[str]:
    return [line[14:] for line in diagram(rows_of(events), missed).splitlines()[1:]]


def test_what_goes_on_as_it_came_is_one_arrow_and_what_is_changed_are_two() -> None:
    events = [
        data(1.0, UP, b"same"),
        data(1.0001, UP, b"same", sent_on=True),
        data(1.1, DOWN, b"one"),
        data(1.1001, DOWN, b"other", sent_on=True),
        data(1.2, UP, b"dropped"),
        data(1.3, DOWN, b"held"),
        data(1.8, DOWN, b"held", sent_on=True),
    ]
    assert lines_of(events) == [
        "1  |----- 4 B -------+---------------->|  'same'",
        "1  |                 |<----- 3 B ------|  'one'",
        "1  |<----- 5 B ------|                 |  'other'",
        "1  |----- 7 B ------>|                 |  'dropped'",
        "1  |                 |<----- 4 B ------|  'held'",
        "1  |<----- 4 B ------|                 |  'held'",
    ]


@pytest.mark.parametrize(
    ("reason", "arrows"),
    [
        ("finished", "x                 x                 x"),
        ("closed", "x                 x                 x"),
        ("client_reset", "x----- RST ------>x----- RST ------>x"),
        ("upstream_lost", "x<----- RST ------x<----- RST ------x"),
        ("aborted", "x<----- RST ------x----- RST ------>x"),
        ("fault", "x                 x                 x"),
    ],
)
def test_ends_are_as_they_were(reason: str, arrows: str) -> None:
    events = [
        Event(1.0, 1, "end", UP),
        Event(1.0, 1, "end", UP, True),
        Event(1.1, 1, "end", DOWN),
        Event(1.5, 1, "closed", text=reason, detail="why"),
    ]
    assert lines_of(events) == [
        "1  |----- FIN -------+---------------->|",
        "1  |                 |<----- FIN ------|",
        f"1  {arrows}  {'' if reason == 'fault' else f'{reason}: '}why",
    ]


def test_faults_are_where_they_struck() -> None:
    events = [data(1.0, DOWN, b"ab"), Event(1.1, 1, "fault", DOWN, text="faults.Cut(after_bytes=1)")]
    assert (
        lines_of(events)[1] == "1  |                 *                 |  faults.Cut(after_bytes=1) strikes to_client"
    )
    assert "faults.Cut(after_bytes=1) strikes to_client" in drawing(rows_of(events), 0)


def test_many_reads_in_a_row_are_one() -> None:
    reads = [data(1.0 + number, UP, bytes(1000), sent_on=sent_on) for number in range(9) for sent_on in (False, True)]
    (line,) = lines_of(reads)
    assert line.startswith("1  |--- 9,000 B -----+---------------->|")
    assert line.endswith(r"\x00'... (9 reads)")


def test_a_long_one_shows_its_beginning_and_its_end() -> None:
    events = [data(float(number), UP if number % 2 else DOWN, b"%d" % number) for number in range(500)]
    lines = lines_of(events, missed=7)
    assert len(lines) == 82
    assert lines[0].endswith("(7 events before are not kept)")
    assert "420 rows are left out" in lines[21]
    assert lines[-1].endswith("'499'")


def test_nothing_of_the_wire_reaches_a_terminal_or_the_picture_as_it_is() -> None:
    events = [data(1.0, UP, b"\x1b[2J<b>\x00&"), Event(1.1, 0, "note", text="a\x1b[0m<i>")]
    text = diagram(rows_of(events), 0)
    assert "\x1b" not in text
    assert r"'\x1b[2J<b>\x00&'" in text
    picture = drawing(rows_of(events), 0)
    assert "\x1b" not in picture
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("text")]
    assert r"'\x1b[2J<b>\x00&'" in texts


def test_an_empty_one_says_so() -> None:
    assert diagram([], 0) == "nothing has passed"
    assert ElementTree.fromstring(drawing([], 0)) is not None


def test_messages_are_shown_where_there_is_a_framing(make: Callable[..., Proxy], echo: Echo) -> None:
    proxy = make(echo.address, framing=framing.lines())
    with connect(proxy.address) as client:
        client.sendall(b"one\ntwo\n")
        assert read_exactly(client, 8) == b"one\ntwo\n"
    proxy.wait_closed()
    text = str(proxy.transcript)
    assert re.search(r"-+ 4 B -+\+-+>\|  'one\\n'", text), text
    assert re.search(r"-+ 4 B -+\+-+>\|  'two\\n'", text), text


def test_what_is_kept_is_bounded_and_what_is_not_is_counted(make: Callable[..., Proxy], echo: Echo) -> None:
    proxy = make(echo.address, keep=4096)
    with connect(proxy.address) as client:
        for _ in range(50):
            client.sendall(bytes(100))
            read_exactly(client, 100)
        with pytest.raises(TimeoutError, match="events before are not kept, for which keep= is too small"):
            proxy.wait_for(b"x", timeout=0)
    assert 1 <= len(proxy.transcript) <= 16
    assert proxy.transcript.missed_events > 100
    assert proxy.transcript.missed_bytes > 10_000


def test_the_packets_are_those_that_passed_on_both_sides(
    make: Callable[..., Proxy], echo: Echo, tmp_path: Path
) -> None:
    def change(side: Side, data: bytes) -> bytes:
        return b"other"

    proxy = make(echo.address, on_client_recv=change)
    with connect(proxy.address) as client:
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"other"
    proxy.wait_closed()
    proxy.transcript.write_capture(tmp_path / "a.pcapng")
    argv = [sys.executable, "-m", "interpose", "inspect", str(tmp_path / "a.pcapng"), "--text"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
    passed = [words for line in shown.splitlines() if len(words := line.split()[2:]) == 2 and words[1] != "end"]
    assert passed == [
        [">", "hello"],
        [">", "other"],
        ["<", "other"],
        ["<", "other"],
    ]
