"""What means nothing is refused in toxiproxy's form, in one line that says what was meant."""

from __future__ import annotations

import random

import pytest
from interpose import BindError, TheServer
from interpose.toxiproxy import _proxies, _proxy
from support.peers import Echo, free_port
from support.toxiproxy_client import Client, is_up

PROXY = {"name": "two", "upstream": "127.0.0.1:6379"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "bad request body: it is empty; send JSON"),
        (
            b"{",
            "bad request body: it is not JSON: Expecting property name enclosed in double quotes (line 1, column 2)",
        ),
        (b'{"name": "a"} x', "bad request body: it is not JSON: Extra data (line 1, column 15)"),
        (b'{"name": "\xff"}', "bad request body: it is not UTF-8"),
        (b"[" * 100_000, "bad request body: it is nested too deeply"),
        (b'{"enabled": NaN}', "bad request body: it is not JSON: NaN is no number of JSON"),
        (b"9" * 5000, "bad request body: it is not JSON: Exceeds the limit"),
        ([], 'bad request body: proxy: it is an array, not an object; send {"name": ...}'),
        ("x", 'bad request body: proxy: it is a string, not an object; send {"name": ...}'),
        ({}, "missing required field: name"),
        ({"name": ""}, "missing required field: name"),
        ({"name": "a"}, "missing required field: upstream"),
        ({**PROXY, "upstrem": "x"}, "bad request body: proxy: there is no 'upstrem'; did you mean 'upstream'?"),
        (
            {**PROXY, "x": 1},
            "bad request body: proxy: there is no 'x'; there are name, listen, upstream, enabled, toxics",
        ),
        ({**PROXY, "name": 5}, "bad request body: name is a number, not a string"),
        ({**PROXY, "name": "x" * 301}, "bad request body: name is longer than 300 characters; give a shorter one"),
        (b'{"name": "\\ud800"}', "bad request body: name has a lone surrogate; give plain text"),
        ({**PROXY, "enabled": "yes"}, "bad request body: enabled is a string, not a boolean; give true or false"),
        ({**PROXY, "upstream": "redis"}, 'bad request body: upstream: address "redis": the port is missing'),
        ({**PROXY, "upstream": "unix:/x"}, "bad request body: upstream is no host and port; give one such as"),
        ({**PROXY, "listen": "unix:/x"}, "bad request body: listen is no host and port; give one such as"),
        ({**PROXY, "listen": "fd:3"}, "bad request body: listen is no host and port; give one such as"),
    ],
)
def test_a_proxy_that_cannot_be(client: Client, body: object, error: str) -> None:
    found = client.call("POST", "/proxies", body)
    assert found.status == 400
    assert found.error.startswith(error)
    assert "\n" not in found.error
    assert client.done("GET", "/proxies") == {}


@pytest.mark.parametrize("listen", ["local373", "127.0.0.1:99999", "no.such.host.invalid:0", "192.0.2.1:0"])
def test_an_address_that_cannot_be_had_is_the_servers_error(client: Client, listen: str) -> None:
    found = client.call("POST", "/proxies", {**PROXY, "listen": listen}, seconds=30.0)
    assert found.status == 500
    assert found.error.startswith("listen: ")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "invalid toxic type: there is no ''; there are latency, bandwidth, "),
        ({"type": "latncy"}, "invalid toxic type: there is no 'latncy'; did you mean 'latency'?"),
        ({"type": ["latency"]}, "bad request body: type is an array, not a string"),
        ({"type": "latency", "stream": "walrus"}, "stream was invalid, can be either upstream or downstream"),
        ({"type": "latency", "stream": ""}, "stream was invalid, can be either upstream or downstream"),
        ({"type": "latency", "atributes": {}}, "bad request body: toxic: there is no 'atributes'; did you mean"),
        ({"type": "latency", "toxicity": "1"}, "bad request body: toxicity is a string, not a number"),
        ({"type": "latency", "toxicity": True}, "bad request body: toxicity is a boolean, not a number"),
        ({"type": "latency", "toxicity": -1}, "bad request body: toxicity is not between 0 and 1"),
        ({"type": "latency", "toxicity": 50}, "bad request body: toxicity is not between 0 and 1; 50 per cent are 0.5"),
        (
            {"type": "latency", "attributes": []},
            "bad request body: attributes of toxic latency: it is an array, not an object",
        ),
        (
            {"type": "latency", "attributes": {"latncy": 1}},
            "bad request body: attributes of toxic latency: there is no 'latncy'; did you mean 'latency'?",
        ),
        (
            {"type": "bandwidth", "attributes": {"latency": 1}},
            "bad request body: attributes of toxic bandwidth: there is no 'latency'; there are rate",
        ),
        (
            {"type": "noop", "attributes": {"a": 1}},
            "bad request body: attributes of toxic noop: there is no 'a'; there are none",
        ),
        (
            {"type": "noop", "attributes": 1},
            "bad request body: attributes of toxic noop: it is a number, not an object; send {}",
        ),
        (
            {"type": "latency", "attributes": {"latency": "1s"}},
            "bad request body: latency of toxic latency is a string, not a whole number",
        ),
        (
            {"type": "latency", "attributes": {"latency": 0.5}},
            "bad request body: latency of toxic latency is a number, not a whole number",
        ),
        ({"type": "latency", "attributes": {"latency": -1}}, "bad request body: latency of toxic latency is negative"),
        (
            {"type": "latency", "attributes": {"latency": 10**30}},
            "bad request body: toxic latency: latency: it is above",
        ),
    ],
)
def test_a_toxic_that_cannot_be(client: Client, upstream: Echo, body: object, error: str) -> None:
    client.proxy(upstream.address)
    found = client.call("POST", "/proxies/redis/toxics", body)
    assert found.status == 400
    assert found.error.startswith(error)
    assert client.done("GET", "/proxies/redis/toxics") == []


def test_a_change_that_cannot_be_changes_nothing(client: Client, upstream: Echo) -> None:
    client.proxy(upstream.address)
    client.toxic("latency", latency=5)
    path = "/proxies/redis/toxics/latency_downstream"
    before = client.done("GET", "/proxies/redis")
    toxics: list[object] = [
        {"attributes": {"latency": 7, "jitter": "x"}},
        {"toxicity": 2},
        {"attributes": {"delay": 1}},
    ]
    for body in (*toxics, "x"):
        assert client.call("PATCH", path, body).status == 400
    for proxy in ({"enabled": 1}, {"upstream": "nowhere"}, {"listen": 5}, {"enable": False}):
        assert client.call("PATCH", "/proxies/redis", proxy).status == 400
    assert client.done("GET", "/proxies/redis") == before


def test_names_that_are_nearly_there_are_named(client: Client, upstream: Echo) -> None:
    client.proxy(upstream.address)
    client.toxic("latency")
    missing = client.call("GET", "/proxies/reddis")
    assert (missing.status, missing.error) == (404, "proxy not found: there is no 'reddis'; did you mean 'redis'?")
    missing = client.call("DELETE", "/proxies/redis/toxics/latency_downstrem")
    assert (
        missing.status,
        missing.error.startswith("toxic not found: there is no 'latency_downstrem'; did you mean"),
    ) == (
        404,
        True,
    )
    assert client.call("POST", "/proxies/other/toxics", {"type": "latency"}).error == "proxy not found"


def test_paths_and_methods_that_are_none(client: Client) -> None:
    for path in ("/", "/proxy", "/proxies/", "/proxies//toxics", "/proxies/a/toxic", "/proxies/a/toxics/b/c", "/%zz"):
        found = client.call("GET", path)
        assert (found.status, found.error.startswith("404 page not found: ")) == (404, True), path
    found = client.call("PUT", "/proxies")
    assert (found.status, found.headers["allow"]) == (405, "GET, POST")
    assert found.error == "method not allowed: /proxies takes GET, POST"
    assert client.call("GET", "/reset").status == 405
    assert client.call("HEAD", "/proxies").text == ""


def test_there_are_only_so_many(client: Client, upstream: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_proxies, "MOST_PROXIES", 2)
    monkeypatch.setattr(_proxy, "MOST_TOXICS", 2)
    client.proxy(upstream.address)
    for number in range(2):
        client.done("POST", "/proxies/redis/toxics", {"type": "latency", "name": f"{number}"})
    full = client.call("POST", "/proxies/redis/toxics", {"type": "latency"})
    assert (full.status, "has 2 toxics" in full.error) == (400, True)
    client.done("POST", "/proxies", {**PROXY, "enabled": False})
    found = client.call("POST", "/proxies", {**PROXY, "name": "three"})
    assert (found.status, "there are 2 proxies" in found.error) == (400, True)
    assert client.call("POST", "/populate", [PROXY]).status == 201
    assert client.call("POST", "/populate", [{**PROXY, "name": "three"}]).status == 400


def test_a_system_that_cannot_keep_an_address_takes_it_again(
    client: Client, upstream: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: TheServer) -> None:
        raise BindError(0, "it cannot be kept here")

    monkeypatch.setattr(TheServer, "pause_listening", cannot)
    address = client.proxy(upstream.address, listen=f"127.0.0.1:{free_port()}")
    assert client.done("POST", "/proxies/redis", {"enabled": False})["enabled"] is False
    assert not is_up(address)
    assert client.done("POST", "/proxies/redis", {"enabled": True})["listen"] == f"127.0.0.1:{address[1]}"
    assert is_up(address)


WORDS = (
    "name",
    "type",
    "stream",
    "toxicity",
    "attributes",
    "listen",
    "upstream",
    "enabled",
    "toxics",
    "latency",
    "",
    "x",
)
VALUES = (
    None,
    True,
    0,
    -1,
    0.5,
    1e300,
    "",
    "redis",
    "latency",
    "127.0.0.1:0",
    "127.0.0.1:1",
    "downstream",
    "\0",
    "\ud800",
)


def drawn(draw: random.Random, depth: int = 3) -> object:
    """Return some JSON that is nearly right."""
    kind = draw.randrange(6) if depth else 5
    if kind < 4:
        return {draw.choice(WORDS): drawn(draw, depth - 1) for _ in range(draw.randrange(5))}
    if kind == 4:
        return [drawn(draw, depth - 1) for _ in range(draw.randrange(3))]
    return draw.choice(VALUES)


def test_nothing_that_is_nearly_right_is_a_defect(client: Client, upstream: Echo) -> None:
    draw = random.Random(7)
    client.proxy(upstream.address)
    paths = ("/proxies", "/populate", "/proxies/redis", "/proxies/redis/toxics", "/proxies/redis/toxics/latency")
    statuses: set[int] = set()
    for _ in range(400):
        found = client.call(draw.choice(("POST", "PATCH")), draw.choice(paths), drawn(draw))
        assert "internal error" not in found.text
        statuses.add(found.status)
    assert statuses >= {200, 400, 404, 405}
    client.done("POST", "/reset")
