"""Twisted's own port forwarder.

`python twisted_relay.py PORT TARGET_PORT [callback]`, both on 127.0.0.1; `callback` calls an identity function on
every chunk.
"""

import sys

from twisted.internet import reactor
from twisted.protocols import portforward


def identity(data: bytes) -> bytes:
    return data


class CallingClient(portforward.ProxyClient):
    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        super().dataReceived(identity(data))


class CallingFactory(portforward.ProxyClientFactory):
    protocol = CallingClient


class CallingServer(portforward.ProxyServer):
    clientProtocolFactory = CallingFactory  # noqa: N815

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        super().dataReceived(identity(data))


class Factory(portforward.ProxyFactory):
    protocol = CallingServer if sys.argv[3:] == ["callback"] else portforward.ProxyServer


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Factory("127.0.0.1", int(sys.argv[2])), backlog=1024, interface="127.0.0.1")
    reactor.run()
