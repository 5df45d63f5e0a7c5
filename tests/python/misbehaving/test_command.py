"""The command's --fault and --seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from interpose import ConfigError, TheServer, faults
from interpose._cli.misbehaving import fault_of
from interpose._cli.parsing import parse
from support.peers import Echo, connect, ending
from support.scripts import command


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("latency 200ms jitter=50ms distribution=normal", faults.Latency(0.2, 0.05, "normal")),
        ("bandwidth 10MB/s burst=64KiB", faults.Bandwidth(10_000_000, 65536)),
        ("slicer 10 variation=3 delay=5ms", faults.Slicer(10, 3, 0.005)),
        ("cut 1KiB how=reset direction=to_client", faults.Cut(1024, "reset", direction="to_client")),
        ("cut", faults.Cut()),
        (r"reset match='GET\r\n' nth=2", faults.Reset(on_match=b"GET\r\n", nth=2)),
        ("stall after=3 times=1", faults.Stall(after_bytes=3, times=1)),
        ("close_after 1s how=fin", faults.CloseAfter(1.0)),
        ("drop probability=10%", faults.Drop(probability=0.1)),
        ("truncate 0", faults.Truncate(0)),
        ("corrupt", faults.Corrupt()),
    ],
)
def test_words_are_faults(words: str, fault: faults.Fault) -> None:
    made = fault_of(words)
    assert type(made) is type(fault)
    with TheServer("", 0, "127.0.0.1:1", faults=[made]) as server:
        assert server.faults == (made,)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("latncy 1", "there is no latncy; did you mean latency?"),
        ("delay 1", "did you mean latency?"),
        ("latency", "latency needs a delay"),
        ("latency fast", "fault latency: delay: 'fast' is not"),
        ("latency 1 jiter=2", "there is no jiter; did you mean jitter?"),
        ("latency 1 2", "2 in 'latency 1 2' has no name; write NAME=2"),
        ("cut 1 how=rst", 'how: it is none of "fin", "reset" and "stall"'),
        ("reset probability=150%", "probability: 1.5 is not between 0 and 1"),
        ("reset nth=1 nth=2", "nth is there twice"),
        ("stall 'x", "has a quote without its end"),
    ],
)
def test_slips_are_one_line(words: str, answer: str) -> None:
    with pytest.raises(ConfigError, match="--fault") as caught:
        fault_of(words)
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)


def test_check_knows_them(tmp_path: Path) -> None:
    wrong = command(tmp_path, "check", "0", "localhost:80", "--fault", "latncy 1")
    assert wrong.code == 2
    assert "did you mean latency?" in wrong.err
    lonely = command(tmp_path, "check", "0", "localhost:80", "--seed", "1")
    assert "there are none; add --fault" in lonely.err


def test_a_listener_of_the_command_misbehaves() -> None:
    with Echo() as echo:
        target = f"{echo.address[0]}:{echo.address[1]}"
        (listener,) = parse(["0", target, "--fault", "cut 3 direction=to_client", "--seed", "9"]).listeners
        with listener.bind() as server, connect(server.address) as client:
            assert server.seed == 9
            client.sendall(b"hello")
            assert ending(client) == ("eof", b"hel")
