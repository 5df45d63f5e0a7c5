"""Every peer of the comparison."""

from pathlib import Path

from . import programs, python_programs
from .peer import DIRECT, OURS, OURS_CALLBACK, Peer, Ports


def all_peers(interpose: Path, environment: Path, tokio_copy: Path) -> list[Peer]:
    """Give every peer, in the order of the tables.

    `interpose` is the command to measure, `environment` the folder of the Python peers' programs, `tokio_copy` the
    relay on tokio's copy_bidirectional.
    """

    def ours(ports: Ports, _: Path) -> list[str]:
        return [str(interpose), f"127.0.0.1:{ports.listen}", f"127.0.0.1:{ports.backend}", "-q"]

    def callback(ports: Ports, _: Path) -> list[str]:
        script = Path(__file__).with_name("callback_relay.py")
        return [str(interpose.with_name("python")), str(script), str(ports.listen), str(ports.backend)]

    def copy(ports: Ports, _: Path) -> list[str]:
        return [str(tokio_copy), str(ports.listen), str(ports.backend)]

    version = (str(interpose), "--version")
    return [
        Peer(DIRECT, "direct, no proxy"),
        Peer(OURS, "**interpose**", ours, version),
        *programs.relays(),
        Peer("tokio-copy", "tokio copy_bidirectional", copy),
        *python_programs.relays(environment),
        Peer(OURS_CALLBACK, "**interpose**, callback", callback, version),
        *programs.callbacks(),
        *python_programs.callbacks(environment),
    ]
