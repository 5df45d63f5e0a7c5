"""dnsmasq and dig over TCP with a callback between them that sees each message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import framing
from support.peers import free_port
from support.processes import Child, program, run

from .conftest import Frame

pytestmark = pytest.mark.xdist_group("dnsmasq")

HOSTS = [f"host{number}.test" for number in range(20)]


class Dnsmasq:
    """A server of names that it was given, which asks nobody else."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "config").write_text("")
        argv = [program("dnsmasq", "dnsmasq-base"), "--keep-in-foreground", "--log-facility=-", "--user=", "--group="]
        argv += [f"--conf-file={folder}/config", f"--port={self.port}", "--listen-address=127.0.0.1"]
        argv += ["--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file", "--txt-record=long.test," + "t" * 250]
        argv += [f"--host-record={host},192.0.2.{number}" for number, host in enumerate(HOSTS)]
        self.child = Child(argv, folder)
        self.child.wait_for("started, version")


@pytest.fixture(scope="module")
def dnsmasq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dnsmasq]:
    server = Dnsmasq(tmp_path_factory.mktemp("dnsmasq"))
    yield server
    assert server.child.stop() == 0


def test_answers_are_equal_to_the_direct_way(dnsmasq: Dnsmasq, framed: Frame, tmp_path: Path) -> None:
    """All questions over one connection."""
    watched = framed(f"127.0.0.1:{dnsmasq.port}", framing.dns())
    questions = [word for host in HOSTS for word in (host, "A")] + ["long.test", "TXT", "nobody.test", "A"]

    def dig(host: str, port: str) -> bytes:
        options = [f"@{host}", "-p", port, "+tcp", "+keepopen", "+noall", "+answer"]
        return run([program("dig", "bind9-dnsutils"), *options, *questions], tmp_path)

    answer = dig(watched.host, watched.port)
    assert answer == dig("127.0.0.1", str(dnsmasq.port))
    assert answer.count(b"192.0.2.") == len(HOSTS)
    watched.finished()
    asked, answered = watched.seen(client=True), watched.seen(client=False)
    assert len(asked) == len(answered) == len(questions) // 2
    assert [message[2:4] for message in asked] == [message[2:4] for message in answered]
    assert watched.connections == 1
