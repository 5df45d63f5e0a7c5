"""A client of toxiproxy's HTTP API that hides nothing: methods, paths, bodies, statuses."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from interpose.toxiproxy import ToxiproxyApi

from .peers import Address, connect


@dataclass(frozen=True)
class Answer:
    """A response. `json` is its body, or None where that is none."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text) if self.text else None

    @property
    def error(self) -> str:
        """The error of a body in the form of toxiproxy's, whose status is that of the response."""
        found = self.json
        assert found["status"] == self.status, found
        return str(found["error"])


class Client:
    """Calls an API, each time on a connection of its own."""

    def __init__(self, api: ToxiproxyApi) -> None:
        self.api = api

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, seconds: float = 10.0
    ) -> Answer:
        """Send `body` as it is if it is bytes, else as JSON; return the response."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        http_client = http.client.HTTPConnection(*self.api.address, timeout=seconds)
        try:
            http_client.request(method, path, data, headers or {})
            found = http_client.getresponse()
            shown = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, found.read().decode(), shown)
        finally:
            http_client.close()

    def done(self, method: str, path: str, body: object = None) -> Any:
        """Do what has to succeed, and return the JSON of the response."""
        found = self.call(method, path, body)
        assert 200 <= found.status < 300, found
        return found.json

    def proxy(self, upstream: Address, name: str = "redis", listen: str = "127.0.0.1:0") -> Address:
        """Create a proxy before `upstream`, and return its address."""
        body = {"name": name, "listen": listen, "upstream": f"{upstream[0]}:{upstream[1]}"}
        return address_of(self.done("POST", "/proxies", body)["listen"])

    def toxic(self, kind: str, name: str = "redis", stream: str = "downstream", **attributes: int) -> None:
        """Add a toxic to a proxy."""
        body = {"type": kind, "stream": stream, "attributes": attributes}
        self.done("POST", f"/proxies/{name}/toxics", body)


def address_of(text: str) -> Address:
    """Return the address that a field `listen` has."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def is_up(address: Address) -> bool:
    """Return whether somebody listens there."""
    try:
        connect(address, 5.0).close()
    except ConnectionRefusedError:
        return False
    return True
