"""Set the Host of HTTP requests, so that a server of many names answers as the one that is meant.

interpose 8080 example.org:80 --script rewrite-host --set host=example.org
"""

import re
from typing import Any

from interpose import Side
from interpose.framing import http1

options: dict[str, Any] = {"host": "example.org"}
framing = http1()

_HOST = re.compile(rb"(?im)^(host:)[^\r\n]*")


def on_client_recv(side: Side, data: bytes) -> bytes:
    """Change the head of a request; what comes behind it, and what is no request, goes on as it is."""
    head, end, body = data.partition(b"\r\n\r\n")
    if side.partial or not end:
        return data
    host = str(options["host"]).encode()
    return _HOST.sub(lambda found: found[1] + b" " + host, head, count=1) + end + body
