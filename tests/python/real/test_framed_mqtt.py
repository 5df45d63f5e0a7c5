"""mosquitto with a callback between its clients and itself that sees each packet."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import framing
from support.deadline import poll
from support.peers import free_port
from support.processes import Child, program, run

from .conftest import Frame, Framed

pytestmark = pytest.mark.xdist_group("mosquitto")

CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
log_dest stderr
{user}
"""
# Lengths of packets that need one, two, three and four bytes to be said.
SIZES = [0, 1, 100, 127, 128, 200, 16_383, 16_500, 2_200_000]
CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = 1, 3, 4, 5, 6, 7, 8, 9


class Mosquitto:
    """A broker without persistence."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        config = folder / "config"
        config.write_text(CONFIG.format(port=self.port, user="user root"))
        self.child = Child([program("mosquitto", "mosquitto"), "-c", str(config)], folder)
        self.child.wait_for("running")


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    assert broker.child.stop() == 0


def kinds(watched: Framed, kind: int, *, client: bool) -> int:
    """Return the number of packets of a kind."""
    return sum(packet[0] >> 4 == kind for packet in watched.seen(client=client))


# The client of mosquitto 2.0.11 ends with a protocol error in version 5 with quality 2, on the direct way as well.
@pytest.mark.parametrize(
    ("version", "quality"), [("mqttv311", 0), ("mqttv311", 1), ("mqttv311", 2), ("mqttv5", 0), ("mqttv5", 1)]
)
def test_packets_are_counted_right(
    version: str, quality: int, mosquitto: Mosquitto, framed: Frame, tmp_path: Path
) -> None:
    """What is published comes to who subscribed, both through the callback."""
    watched = framed(f"127.0.0.1:{mosquitto.port}", framing.mqtt())
    lines = [b"%d" % number + b"m" * number for number in range(100)]
    common = ["-h", watched.host, "-p", watched.port, "-V", version, "-t", "a/b", "-q", str(quality)]
    argv = [program("mosquitto_sub", "mosquitto-clients"), *common, "-C", str(len(lines))]
    with Child(argv, tmp_path, stdout=subprocess.PIPE) as subscriber:
        poll(lambda: kinds(watched, SUBACK, client=False) == 1, 10, "the subscription is granted")
        (tmp_path / "lines").write_bytes(b"".join(line + b"\n" for line in lines))
        with (tmp_path / "lines").open("rb") as source:
            run([program("mosquitto_pub", "mosquitto-clients"), *common, "-l"], tmp_path, stdin=source)
        out, _ = subscriber.popen.communicate(timeout=20)
        assert subscriber.popen.returncode == 0
    assert out.splitlines() == lines
    watched.finished()
    for client in (True, False):
        assert kinds(watched, PUBLISH, client=client) == len(lines)
    assert kinds(watched, CONNECT, client=True) == 2
    assert kinds(watched, SUBSCRIBE, client=True) == 1
    # The publisher waits for each answer; the subscriber leaves with the last message.
    assert kinds(watched, PUBACK, client=False) == (len(lines) if quality == 1 else 0)
    for kind, client in ((PUBREC, False), (PUBREL, True), (PUBCOMP, False)):
        count = kinds(watched, kind, client=client)
        assert count >= len(lines) if quality == 2 else count == 0


def test_packets_of_every_width_of_length_are_whole(mosquitto: Mosquitto, framed: Frame, tmp_path: Path) -> None:
    watched = framed(f"127.0.0.1:{mosquitto.port}", framing.mqtt())
    common = ["-h", watched.host, "-p", watched.port, "-t", "t"]
    for size in SIZES:
        (tmp_path / "payload").write_bytes(b"p" * size)
        argv = [program("mosquitto_pub", "mosquitto-clients"), *common, "-r", "-q", "1", "-f", "payload"]
        run(argv if size else [*argv[:-2], "-n"], tmp_path)
        if size:
            argv = [program("mosquitto_sub", "mosquitto-clients"), *common, "-C", "1", "-N"]
            assert run(argv, tmp_path) == b"p" * size
    watched.finished()
    sent = [packet for packet in watched.seen(client=True) if packet[0] >> 4 == PUBLISH]
    got = [packet for packet in watched.seen(client=False) if packet[0] >> 4 == PUBLISH]
    assert [packet.count(b"p") for packet in sent] == SIZES
    assert [packet.count(b"p") for packet in got] == SIZES[1:]
