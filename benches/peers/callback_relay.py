"""interpose with Python beside it: a callback on every chunk, one at the end of each connection, or work of others.

`python callback_relay.py PORT TARGET_PORT HOW [CA FOLDER]`, both on 127.0.0.1, with HOW one of on_recv, parts, async,
async-uvloop, framed, lines, prefixed, passed, limit, preread, on_close, no-faults, burn, burn-apart and stuck.
`parts` answers a chunk by a list of its head and its body, `async` is an `async def` on a loop of the server's,
`async-uvloop` one on the loop that serves. `framed`, `lines` and `prefixed` get messages of 64 bytes: by their number
of bytes, their line feed, or a length. `passed` lets both directions pass from their first chunk on, `limit` does so
by a setting, and `preread` looks at the first bytes before the relay. `no-faults` has an empty list of faults and
nothing else. With the last three the server has no callback: a thread of the process computes in Python all the
time, or another process does, or a callback of another server does not return.
With a file of issuers and a folder for an issuer of its own, the server looks into TLS.
"""

import os
import socket
import sys
import threading

from interpose import Callbacks, Connection, Intercept, Side, TheServer, TlsUpstream, framing

# Bytes in a message's head, whether the message has 64 bytes or many.
HEAD = 16


def identity(_: Side, data: bytes) -> bytes:
    return data


def parts(_: Side, data: bytes) -> list[bytes]:
    return [data[:HEAD], data[HEAD:]]


async def identity_later(_: Side, data: bytes) -> bytes:
    return data


def pass_on(side: Side, _: bytes) -> None:
    side.passthrough()


def look(_: Connection, data: bytes) -> None:
    assert data


def forget(_: Connection) -> None:
    pass


def burn() -> None:
    """Compute for ever. Not on the server's CPU, and only in what others leave of another."""
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - here or here)
    # The CPU may be the load's: what is taken of that would be measured, not what is done to the server. Kept from
    # running, a thread holds the interpreter all the same.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


class Stuck:
    """A server of this process whose lane hangs in a callback."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._server = TheServer("", 0, ("127.0.0.1", 1), on_accept=self._hang).start()
        self._client = socket.create_connection(("127.0.0.1", int(self._server.address[1])))
        self._entered.wait(10.0)

    def _hang(self, _: Connection) -> None:
        self._entered.set()
        threading.Event().wait()


if __name__ == "__main__":
    # A request of 64 bytes is letters up to a line feed. The first one, as a length, is 63 more than it should be.
    messages = {
        "framed": framing.fixed(64),
        "lines": framing.lines(),
        "prefixed": framing.length_prefixed(1, adjust=63 - ord("E")),
    }.get(sys.argv[3])
    callbacks = Callbacks(inspect_limit=1 if sys.argv[3] == "limit" else None)
    address = ("127.0.0.1", int(sys.argv[2]))
    inside = Intercept(TlsUpstream(sys.argv[4]), folder=sys.argv[5]) if len(sys.argv) > 5 else None
    server = TheServer("", int(sys.argv[1]), address, framing=messages, callbacks=callbacks, tls=inside)
    beside: object = None
    match sys.argv[3]:
        case "on_recv" | "framed" | "lines" | "prefixed" | "limit":
            server.on_recv = identity
        case "parts":
            server.on_recv = parts
        case "async" | "async-uvloop":
            server.on_recv = identity_later
        case "passed":
            server.on_recv = pass_on
        case "preread":
            server.on_preread = look
        case "no-faults":
            server.faults = []
        case "on_close":
            server.on_close = forget
        case "burn":
            beside = threading.Thread(target=burn, daemon=True)
            beside.start()
        case "burn-apart":
            if os.fork() == 0:
                burn()
        case _:
            beside = Stuck()
    if sys.argv[3] == "async-uvloop":
        import uvloop

        uvloop.run(server.serve_forever())
    else:
        server.main_loop()
