"""interpose with an identity callback on every chunk.

`python callback_relay.py PORT TARGET_PORT`, both on 127.0.0.1.
"""

import sys

from interpose import Side, TheServer


def identity(_: Side, data: bytes) -> bytes:
    return data


if __name__ == "__main__":
    TheServer("", int(sys.argv[1]), ("127.0.0.1", int(sys.argv[2])), on_recv=identity).main_loop()
