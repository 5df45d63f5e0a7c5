"""The tutorial's algorithm in Python 3, in our own words: one thread, select() over every socket, 4 KiB at a time.

`python tutorial_relay.py PORT TARGET_PORT`, both on 127.0.0.1.
"""

import select
import socket
import sys
import time

CHUNK = 4096
# The pause of each round that the original makes.
DELAY = 0.0001


class Relay:
    """Every socket, and the other end of each."""

    def __init__(self, port: int, target: int) -> None:
        self.target = ("127.0.0.1", target)
        self.listener = socket.create_server(("127.0.0.1", port), backlog=200)
        self.watched = [self.listener]
        self.other: dict[socket.socket, socket.socket] = {}

    def run(self) -> None:
        while True:
            time.sleep(DELAY)
            ready, _, _ = select.select(self.watched, [], [])
            for sock in ready:
                if sock is self.listener:
                    self.accept()
                    break
                data = sock.recv(CHUNK)
                if not data:
                    self.close(sock)
                    break
                self.other[sock].send(data)

    def accept(self) -> None:
        client, _ = self.listener.accept()
        upstream = socket.create_connection(self.target)
        self.watched += [client, upstream]
        self.other[client], self.other[upstream] = upstream, client

    def close(self, sock: socket.socket) -> None:
        for one in (sock, self.other.pop(sock)):
            self.watched.remove(one)
            self.other.pop(one, None)
            one.close()


if __name__ == "__main__":
    Relay(int(sys.argv[1]), int(sys.argv[2])).run()
