"""The calls that toxiproxy's README documents, as it documents them, and what its tests expect of them."""

from __future__ import annotations

import pytest
from interpose.toxiproxy import ToxiproxyApi
from support.deadline import poll
from support.peers import Echo, connect, echo, ending, free_port
from support.toxiproxy_client import Client, address_of, is_up


def text_of(upstream: Echo) -> str:
    return f"{upstream.address[0]}:{upstream.address[1]}"


def test_there_are_no_proxies_at_first(client: Client) -> None:
    found = client.call("GET", "/proxies")
    assert (found.status, found.json, found.headers["content-type"]) == (200, {}, "application/json")


def test_a_created_proxy_forwards_and_is_listed(client: Client, upstream: Echo) -> None:
    target = text_of(upstream)
    found = client.call("POST", "/proxies", {"name": "redis", "listen": "localhost:0", "upstream": target})
    assert found.status == 201
    listen = found.json["listen"]
    proxy: dict[str, object] = {"name": "redis", "listen": listen, "upstream": target, "enabled": True, "toxics": []}
    assert found.json == proxy
    assert list(found.json) == ["name", "listen", "upstream", "enabled", "toxics"]
    assert listen.startswith("127.0.0.1:")
    assert client.done("GET", "/proxies") == {"redis": proxy}
    assert client.done("GET", "/proxies/redis") == proxy
    with connect(address_of(listen)) as sock:
        assert echo(sock, b"PING\r\n") == b"PING\r\n"


def test_a_proxy_that_is_created_disabled_keeps_its_address_as_written(client: Client, upstream: Echo) -> None:
    listen = f"localhost:{free_port()}"
    body = {"name": "one", "listen": listen, "upstream": text_of(upstream), "enabled": False}
    found = client.done("POST", "/proxies", body)
    assert (found["listen"], found["enabled"]) == (listen, False)
    assert not is_up(address_of(listen))
    enabled = client.done("POST", "/proxies/one", {"enabled": True})
    assert enabled["enabled"] is True
    assert is_up(address_of(enabled["listen"]))


def test_without_listen_it_is_a_free_port_of_this_machine_only(client: Client, upstream: Echo) -> None:
    found = client.done("POST", "/proxies", {"name": "one", "upstream": text_of(upstream)})
    assert address_of(found["listen"])[0] == "127.0.0.1"
    assert address_of(found["listen"])[1] > 0


def test_a_null_is_a_field_that_is_missing_and_names_may_have_capitals(client: Client, upstream: Echo) -> None:
    body = {"Name": "one", "Upstream": text_of(upstream), "listen": "localhost:0", "enabled": None, "toxics": None}
    assert client.done("POST", "/proxies", body)["enabled"] is True


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_disabled_proxy_refuses_and_cuts_and_comes_back(client: Client, upstream: Echo, method: str) -> None:
    address = client.proxy(upstream.address)
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"
        found = client.done(method, "/proxies/redis", {"enabled": False})
        assert found["enabled"] is False
        assert ending(sock) == ("eof", b"")
    assert not is_up(address)
    found = client.done(method, "/proxies/redis", {"enabled": True})
    assert address_of(found["listen"]) == address
    with connect(address) as sock:
        assert echo(sock, b"again") == b"again"


def test_bytes_that_latency_holds_back_are_lost_by_a_reset_when_it_is_disabled(
    client: Client, api: ToxiproxyApi, upstream: Echo
) -> None:
    address = client.proxy(upstream.address)
    client.toxic("latency", latency=60_000)
    with connect(address) as sock:
        sock.sendall(b"held")
        server = api.servers["redis"]
        poll(lambda: server.stats.to_client.read == 4 or None, 5.0, "the answer is held back")
        client.done("POST", "/proxies/redis", {"enabled": False})
        assert ending(sock) == ("reset", b"")


def test_another_upstream_cuts_and_holds_from_then_on(client: Client, upstream: Echo) -> None:
    with Echo() as other:
        address = client.proxy(upstream.address)
        with connect(address) as sock:
            assert echo(sock, b"hello") == b"hello"
            found = client.done("PATCH", "/proxies/redis", {"upstream": text_of(other)})
            assert (found["upstream"], address_of(found["listen"])) == (text_of(other), address)
            assert ending(sock) == ("eof", b"")
        with connect(address) as sock:
            assert echo(sock, b"hello") == b"hello"
            assert other.open() == 1


def test_another_address_cuts_and_moves_with_its_toxics(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address, listen=f"127.0.0.1:{free_port()}")
    client.toxic("limit_data", bytes=3)
    with connect(address) as sock:
        assert echo(sock, b"he") == b"he"
        found = client.done("POST", "/proxies/redis", {"listen": f"localhost:{free_port()}"})
        assert ending(sock) == ("eof", b"")
    moved = address_of(found["listen"])
    assert moved != address
    assert not is_up(address)
    with connect(moved) as sock:
        sock.sendall(b"hello")
        assert ending(sock) == ("eof", b"hel")


def test_the_same_fields_change_nothing(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address)
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"
        same = client.done("GET", "/proxies/redis")
        assert client.done("POST", "/proxies/redis", same) == same
        assert client.done("POST", "/proxies/redis", {"listen": f"localhost:{address[1]}"}) == same
        assert client.done("POST", "/proxies/redis", {}) == same
        assert echo(sock, b"still") == b"still"


def test_a_deleted_proxy_is_gone_and_its_address_is_free(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address, listen=f"127.0.0.1:{free_port()}")
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"
        found = client.call("DELETE", "/proxies/redis")
        assert (found.status, found.text) == (204, "")
        assert ending(sock) == ("eof", b"")
    assert client.call("GET", "/proxies/redis").error == "proxy not found"
    assert client.call("DELETE", "/proxies/redis").status == 404
    client.proxy(upstream.address, "other", f"127.0.0.1:{address[1]}")


def test_names_and_addresses_that_are_taken_are_refused(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address)
    again = client.call("POST", "/proxies", {"name": "redis", "upstream": text_of(upstream)})
    assert (again.status, again.error) == (409, "proxy already exists")
    body = {"name": "two", "listen": f"127.0.0.1:{address[1]}", "upstream": text_of(upstream)}
    taken = client.call("POST", "/proxies", body)
    assert taken.status == 500
    assert "address already in use" in taken.error
    assert client.call("GET", "/proxies/two").status == 404
    client.done("POST", "/proxies", {**body, "enabled": False})
    assert client.call("PATCH", "/proxies/two", {"enabled": True}).status == 500
    assert client.done("GET", "/proxies/two")["enabled"] is False


def test_populate_creates_keeps_and_replaces(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address, "one")
    moving = client.proxy(upstream.address, "two", f"127.0.0.1:{free_port()}")
    client.toxic("latency", "one")
    client.toxic("latency", "two")
    target = text_of(upstream)
    body = [
        {"name": "one", "listen": f"localhost:{address[1]}", "upstream": target, "enabled": False},
        {"name": "two", "listen": f"127.0.0.1:{free_port()}", "upstream": target},
        {"name": "three", "listen": "127.0.0.1:0", "upstream": target, "enabled": False},
    ]
    found = client.call("POST", "/populate", body)
    assert found.status == 201
    one, two, three = found.json["proxies"]
    assert (one["name"], one["enabled"], len(one["toxics"])) == ("one", True, 1)
    assert (two["name"], two["enabled"], two["toxics"]) == ("two", True, [])
    assert (three["name"], three["enabled"], three["listen"]) == ("three", False, "127.0.0.1:0")
    assert not is_up(moving)
    assert is_up(address_of(two["listen"]))
    assert client.done("POST", "/populate", [])["proxies"] == []


def test_populate_ends_at_the_first_slip(client: Client, upstream: Echo) -> None:
    target = text_of(upstream)
    one = {"name": "one", "listen": "127.0.0.1:0", "upstream": target}
    unnamed = client.call("POST", "/populate", [one, {"name": "", "listen": "", "enabled": True}])
    assert (unnamed.status, unnamed.error) == (400, "missing required field: name at proxy 2")
    assert unnamed.json["proxies"] == []
    lacking = client.call("POST", "/populate", [{"name": "one"}])
    assert lacking.error == "missing required field: upstream at proxy 1"
    assert client.done("GET", "/proxies") == {}
    bad = client.call(
        "POST", "/populate", [one, {**one, "name": "two", "listen": "local373"}, {**one, "name": "three"}]
    )
    assert bad.status == 500
    assert [proxy["name"] for proxy in bad.json["proxies"]] == ["one"]
    assert list(client.done("GET", "/proxies")) == ["one"]


def test_toxics_have_names_and_defaults(client: Client, upstream: Echo) -> None:
    client.proxy(upstream.address)
    assert client.done("GET", "/proxies/redis/toxics") == []
    found = client.call("POST", "/proxies/redis/toxics", {"type": "latency"})
    latency = {"name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1}
    latency = {"attributes": {"latency": 0, "jitter": 0}, **latency}
    assert (found.status, found.json) == (200, latency)
    body = {"name": "mine", "type": "bandwidth", "stream": "upstream", "toxicity": 0.2, "attributes": {"rate": 1000}}
    mine = client.done("POST", "/proxies/redis/toxics", body)
    assert mine == body
    # toxiproxy lists those of the upstream's stream first.
    assert client.done("GET", "/proxies/redis/toxics") == [mine, latency]
    assert client.done("GET", "/proxies/redis")["toxics"] == [mine, latency]
    assert client.done("GET", "/proxies/redis/toxics/mine") == mine
    again = client.call("POST", "/proxies/redis/toxics", {"name": "mine", "type": "slow_close"})
    assert (again.status, again.error) == (409, "toxic already exists")
    noop = client.done("POST", "/proxies/redis/toxics", {"type": "noop"})
    assert (noop["name"], noop["attributes"]) == ("noop_downstream", {})


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_changed_toxic_keeps_what_is_not_named(client: Client, upstream: Echo, method: str) -> None:
    client.proxy(upstream.address)
    client.toxic("latency", latency=100, jitter=10)
    path = "/proxies/redis/toxics/latency_downstream"
    found = client.done(method, path, {"attributes": {"latency": 1000}, "toxicity": 0.5})
    assert (found["attributes"], found["toxicity"]) == ({"latency": 1000, "jitter": 10}, 0.5)
    found = client.done(
        method, path, {"attributes": {"latency": 500}, "type": "slicer", "name": "x", "stream": "upstream"}
    )
    shown = {"attributes": {"latency": 500, "jitter": 10}, "name": "latency_downstream", "type": "latency"}
    assert found == {**shown, "stream": "downstream", "toxicity": 0.5}
    assert client.done("GET", path) == found


def test_a_deleted_toxic_is_gone(client: Client, upstream: Echo) -> None:
    client.proxy(upstream.address)
    client.toxic("latency")
    found = client.call("DELETE", "/proxies/redis/toxics/latency_downstream")
    assert (found.status, found.text) == (204, "")
    assert client.done("GET", "/proxies/redis/toxics") == []
    for method in ("GET", "DELETE", "PATCH"):
        assert client.call(method, "/proxies/redis/toxics/latency_downstream", {}).error == "toxic not found"


def test_a_reset_enables_all_and_takes_toxics_away(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address)
    client.toxic("limit_data", bytes=0)
    client.done("POST", "/proxies/redis", {"enabled": False})
    found = client.call("POST", "/reset")
    assert (found.status, found.text) == (204, "")
    proxy = client.done("GET", "/proxies/redis")
    assert (proxy["enabled"], proxy["toxics"]) == (True, [])
    with connect(address) as sock:
        assert echo(sock, b"hello") == b"hello"


def test_the_version_is_that_of_the_api(client: Client, api: ToxiproxyApi) -> None:
    found = client.call("GET", "/version")
    major, minor, _ = found.json["version"].split(".")
    # The client in Ruby takes PATCH from 2.6 on.
    assert (int(major), int(minor) >= 6) == (2, True)
    assert found.headers["x-toxiproxy-request-id"] != client.call("GET", "/version").headers["x-toxiproxy-request-id"]
    assert api.url == f"http://{api.address}"


def test_browsers_are_refused(client: Client) -> None:
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"}
    found = client.call("GET", "/proxies", headers=browser)
    assert (found.status, found.error) == (403, "User agent not allowed")
    assert client.call("GET", "/proxies", headers={"User-Agent": "Wget/2.1"}).status == 200


def test_metrics_count_what_has_passed(client: Client, upstream: Echo) -> None:
    address = client.proxy(upstream.address, 'a "b"')
    client.done("POST", "/proxies/a%20%22b%22/toxics", {"type": "limit_data", "attributes": {"bytes": 5}})
    with connect(address) as sock:
        sock.sendall(b"hello, world")
        assert ending(sock) == ("eof", b"hello")
    found = client.call("GET", "/metrics")
    assert found.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    labels = f'listener="127.0.0.1:{address[1]}",proxy="a \\"b\\"",upstream="{text_of(upstream)}"'
    lines = found.text.splitlines()
    assert f'toxiproxy_proxy_received_bytes_total{{direction="upstream",{labels}}} 12' in lines
    assert f'toxiproxy_proxy_sent_bytes_total{{direction="downstream",{labels}}} 5' in lines
    assert 'interpose_proxy_connections_total{proxy="a \\"b\\""} 1' in lines
    assert 'interpose_proxy_toxic_strikes_total{proxy="a \\"b\\"",toxic="limit_data_downstream"} 1' in lines
