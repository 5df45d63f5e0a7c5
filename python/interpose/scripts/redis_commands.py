"""Print the commands that clients send to Redis, and refuse some.

interpose 9379 localhost:6379 --script redis-commands --set refuse=FLUSHALL,CONFIG
"""

from typing import Any

from interpose import Side
from interpose.framing import resp

options: dict[str, Any] = {"refuse": (), "most": 80}
framing = resp()


def words_of(message: bytes) -> list[bytes]:
    """Return the words of a command: bulk strings, or those of an inline command."""
    if not message.startswith(b"*"):
        return message.split()
    words: list[bytes] = []
    at = message.index(b"\r\n") + 2
    while at < len(message):
        begin = message.index(b"\r\n", at) + 2
        length = int(message[at + 1 : begin - 2])
        words.append(message[begin : begin + length])
        at = begin + length + 2
    return words


def on_client_recv(side: Side, data: bytes) -> bytes | None:
    """Print a command, and answer it with an error if it is refused."""
    if side.partial:
        return None
    words = words_of(data)
    shown = " ".join(repr(word)[2:-1] for word in words)
    print(f"{side.connection.id} {shown[: options['most']]}")
    if not words or words[0].decode("latin-1").upper() not in options["refuse"]:
        return None
    side.send(b"-ERR this command is refused here\r\n")
    return b""
