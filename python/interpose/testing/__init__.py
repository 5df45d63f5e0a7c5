"""A proxy for tests: it remembers what has passed, waits for what is to pass, and leaves nothing behind.

    from interpose.testing import Proxy

    with Proxy("127.0.0.1:6379") as proxy:
        client = redis.Redis(proxy.host, proxy.port)
        ...
        proxy.wait_for(b"PING")

Tests of pytest get one from the fixture `tcp_proxy`, which comes with the package; this is what it makes, for unittest
and for anything else.

>>> import socket
>>> from interpose.testing import Proxy
>>> with Proxy("127.0.0.1:7070") as proxy:
...     with socket.create_connection(proxy.address) as client:
...         client.sendall(b"hello")
...         seen = proxy.wait_for(b"hello", direction="to_client")
>>> seen.direction, seen.data
('to_client', b'hello')
"""

from .._addresses import Address
from ._certificates import Certificates
from ._events import Event
from ._expect import Expect
from ._factory import ProxyFactory
from ._proxy import Proxy
from ._searching import Seen
from ._transcript import Transcript
from ._undo import Undo
from ._waits import AsyncWaits

__all__ = [
    "Address",
    "AsyncWaits",
    "Certificates",
    "Event",
    "Expect",
    "Proxy",
    "ProxyFactory",
    "Seen",
    "Transcript",
    "Undo",
]
