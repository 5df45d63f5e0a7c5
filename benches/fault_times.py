"""Measure how exactly faults keep their times, on real sockets: python3 -m benches.fault_times

Needs interpose in the environment it runs in. Prints a table for the reference of faults.
"""

import socket
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from interpose import TheServer, faults

REPEATS = 40
TIME = 0.05
RATE = 1_000_000
BULK = 200_000


class Waiting(faults.Scripted):
    """Waits before each read."""

    def on_data(self, side: Any, data: bytes, actions: faults.Actions) -> None:  # noqa: ARG002
        """Wait."""
        actions.wait(TIME)


def gets(sock: socket.socket, count: int) -> float:
    """Receive this number of bytes, and return once all of them have come."""
    while count:
        more = len(sock.recv(count))
        if not more:
            raise ConnectionError("it has ended")
        count -= more
    return time.perf_counter()


def ended(sock: socket.socket) -> float:
    """Receive to the end; return when it has come."""
    while sock.recv(65536):
        """Nothing of it counts."""
    return time.perf_counter()


def late(client: socket.socket, far: socket.socket) -> float:
    """Return how long a byte is on its way."""
    begun = time.perf_counter()
    client.sendall(b"x")
    return gets(far, 1) - begun


def limited(client: socket.socket, far: socket.socket) -> float:
    """Return how long bytes take beyond the burst."""
    begun = time.perf_counter()
    client.sendall(bytes(BULK + RATE // 10))
    return gets(far, BULK + RATE // 10) - begun


def sliced(client: socket.socket, far: socket.socket) -> float:
    """Return how long two pieces are apart."""
    client.sendall(b"xy")
    begun = gets(far, 1)
    return gets(far, 1) - begun


def closed(client: socket.socket, far: socket.socket) -> float:
    """Return how long a connection lives behind its first byte."""
    client.sendall(b"x")
    begun = gets(far, 1)
    return ended(client) - begun


def half_closed(client: socket.socket, far: socket.socket) -> float:
    """Return how long an end is on its way."""
    begun = time.perf_counter()
    client.shutdown(socket.SHUT_WR)
    return ended(far) - begun


# What is measured, and what it is to be, in seconds.
ROWS: dict[str, tuple[Callable[[], faults.Fault], Callable[[socket.socket, socket.socket], float], float]] = {
    "Latency(0.05)": (lambda: faults.Latency(TIME), late, TIME),
    'Bandwidth("1MB/s"), 200 kB': (lambda: faults.Bandwidth(RATE), limited, BULK / RATE),
    "Slicer(1, delay=0.05)": (lambda: faults.Slicer(1, delay=TIME), sliced, TIME),
    "CloseAfter(0.05, after_bytes=1)": (lambda: faults.CloseAfter(TIME, after_bytes=1), closed, TIME),
    "SlowClose(0.05)": (lambda: faults.SlowClose(TIME), half_closed, TIME),
    "Scripted, actions.wait(0.05)": (lambda: Waiting(direction="to_upstream"), late, TIME),
}


def measured(make: Callable[[], faults.Fault], take: Callable[[socket.socket, socket.socket], float]) -> float:
    """Measure once, on a connection of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = TheServer("", 0, listening.getsockname()[:2], faults=[make()], drain=0)
        with server, socket.create_connection(server.address, 10) as client:
            far, _ = listening.accept()
            with far:
                far.settimeout(10)
                return take(client, far)


def connected() -> float:
    """Measure how late an upstream is connected."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        slow = faults.SlowConnect(TIME)
        with TheServer("", 0, listening.getsockname()[:2], faults=[slow], drain=0) as server:
            came: list[float] = []

            def accept() -> None:
                listening.accept()[0].close()
                came.append(time.perf_counter())

            accepting = threading.Thread(target=accept)
            accepting.start()
            begun = time.perf_counter()
            with socket.create_connection(server.address, 10):
                accepting.join(10)
            return came[0] - begun


def outage() -> float:
    """Measure how long a link stays down."""
    flap = faults.Flap([TIME, TIME], down="link")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = TheServer("", 0, listening.getsockname()[:2], drain=0)
        with server, socket.create_connection(server.address, 10) as client:
            far, _ = listening.accept()
            with far:
                late(client, far)
                server.add_fault(flap)
                while not flap.strikes:
                    time.sleep(0.0001)
                return late(client, far)


def main() -> None:
    """Print a row for each fault: the median of what it takes, and the range."""
    takes: dict[str, tuple[Callable[[], float], float]] = {
        name: (lambda make=make, take=take: measured(make, take), wanted)  # type: ignore[misc]
        for name, (make, take, wanted) in ROWS.items()
    }
    takes["SlowConnect(0.05)"] = (connected, TIME)
    takes['Flap([0.05, 0.05], down="link"), an outage'] = (outage, TIME)
    print("| fault | to be, ms | median, ms | range, ms |\n|---|---|---|---|")
    for name, (take, wanted) in takes.items():
        found = sorted(1000 * take() for _ in range(REPEATS))
        row = f"{1000 * wanted:g} | {statistics.median(found):.1f} | {found[0]:.1f}-{found[-1]:.1f}"
        print(f"| `{name}` | {row} |", flush=True)


if __name__ == "__main__":
    main()
