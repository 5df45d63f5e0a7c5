"""interpose with callbacks: an identity function on every chunk, or only one at the end of each connection.

`python callback_relay.py PORT TARGET_PORT on_recv|on_close`, both on 127.0.0.1.
"""

import sys

from interpose import Connection, Side, TheServer


def identity(_: Side, data: bytes) -> bytes:
    return data


def forget(_: Connection) -> None:
    pass


if __name__ == "__main__":
    server = TheServer("", int(sys.argv[1]), ("127.0.0.1", int(sys.argv[2])))
    if sys.argv[3] == "on_recv":
        server.on_recv = identity
    else:
        server.on_close = forget
    server.main_loop()
