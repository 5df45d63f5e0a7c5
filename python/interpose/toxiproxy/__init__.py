"""toxiproxy's HTTP API, over the faults of interpose: clients of toxiproxy drive it unchanged.

    from interpose import toxiproxy

    toxiproxy.serve().main_loop()  # on 127.0.0.1:8474, until Ctrl-C

In a test it listens on a free port, and is gone at the end of the block:

>>> import json
>>> from urllib.request import Request, urlopen
>>> from interpose import toxiproxy
>>> with toxiproxy.serve(port=0) as api:
...     proxy = json.dumps({"name": "redis", "upstream": "127.0.0.1:6379", "listen": "127.0.0.1:0"})
...     with urlopen(Request(f"{api.url}/proxies", proxy.encode())) as response:
...         created = json.load(response)
...     created["name"], created["enabled"], created["toxics"]
('redis', True, [])

The command has it as `interpose --toxiproxy-api 8474`.
"""

from __future__ import annotations

from .._names import names_checked, table
from ._api import PORT, ToxiproxyApi

__all__ = ["ToxiproxyApi", "serve"]

_ARGUMENTS = table({"host": "address listen bind ip interface", "port": "p", "seed": "random randomseed"})


@names_checked(_ARGUMENTS, first=0)
def serve(host: str = "127.0.0.1", port: int = PORT, *, seed: int | None = None) -> ToxiproxyApi:
    """Listen, serve toxiproxy's API in the background, and return it; it has no proxies at first.

    * `port`: 8474 is where clients of toxiproxy look; 0 is any free port, and `address` says which.
    * `seed`: the number that fixes what toxics draw, for each proxy.

    An address that other machines can reach is warned about once. Leaving its `with` block, or stop(), ends it with all
    its proxies; main_loop() waits for that. Raises BindError, BindPermissionError, ResolveError, ConfigError,
    ArgumentTypeError and AddressError.

    >>> from interpose import toxiproxy
    >>> with toxiproxy.serve(port=0) as api:
    ...     api.address.host
    '127.0.0.1'
    """
    return ToxiproxyApi(host, port, seed=seed)
