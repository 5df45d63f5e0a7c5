"""The tutorial's classes: the usual descendant, and the article's own."""

from __future__ import annotations

from typing import Any

import pytest
from interpose import Forward, TheServer


class OnlyRecv(TheServer):
    """What most descendants of the tutorial override."""

    def on_recv(self) -> None:
        data = self.data
        self.channel[self.s].send(data.upper())


class WholeTutorial(TheServer):
    """The three methods as the article has them; only the target is an attribute."""

    def on_accept(self) -> None:
        assert isinstance(self.forward_to, Forward)
        target = self.forward_to.address
        forward = Forward().start(*target)
        clientsock, clientaddr = self.server.accept()
        if forward:
            print(clientaddr, "has connected")
            self.input_list.append(clientsock)
            self.input_list.append(forward)
            self.channel[clientsock] = forward
            self.channel[forward] = clientsock
        else:
            print("Can't establish connection with remote server.", end=" ")
            print("Closing connection with client side", clientaddr)
            clientsock.close()

    def on_close(self) -> None:
        print(self.s.getpeername(), "has disconnected")
        self.input_list.remove(self.s)
        self.input_list.remove(self.channel[self.s])
        out = self.channel[self.s]
        self.channel[out].close()
        self.channel[self.s].close()
        del self.channel[out]
        del self.channel[self.s]

    def on_recv(self) -> None:
        data = self.data
        print(data)
        self.channel[self.s].send(data)


class Chat(TheServer):
    """Sends what comes from a client to all others; there is no upstream."""

    def on_accept(self) -> None:
        client, _ = self.server.accept()
        self.input_list.append(client)

    def on_recv(self) -> None:
        for one in self.input_list:
            if one not in (self.server, self.s):
                one.send(self.data)


BOTH = pytest.mark.parametrize("kind", [OnlyRecv, WholeTutorial])


def unpaired(server: Any) -> bool:
    """Return whether the server knows of no connection any more."""
    return bool(server.channel == {} and server.input_list == [server.server])
