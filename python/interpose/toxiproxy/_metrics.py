"""The counters of proxies as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from .._stats import Ledger, Stats
from ._proxy import Proxy

_Labels: TypeAlias = dict[str, str]
_Sample: TypeAlias = tuple[_Labels, int]


def metrics_of(proxies: Iterable[Proxy]) -> str:
    """Return the text that a scrape gets."""
    found = [(proxy, server.stats) for proxy in proxies if (server := proxy.server) is not None]
    lines = [
        *_metric("toxiproxy_proxy_received_bytes_total", "counter", "Bytes read in a direction", _read(found)),
        *_metric("toxiproxy_proxy_sent_bytes_total", "counter", "Bytes delivered in a direction", _sent(found)),
        *_metric(
            "interpose_proxy_connections_total",
            "counter",
            "Connections accepted",
            [({"proxy": proxy.name}, stats.accepted) for proxy, stats in found],
        ),
        *_metric(
            "interpose_proxy_connections",
            "gauge",
            "Connections that live",
            [({"proxy": proxy.name}, stats.active) for proxy, stats in found],
        ),
        *_metric("interpose_proxy_toxic_strikes_total", "counter", "Strikes of a toxic's faults", _strikes(found)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, kind: str, meaning: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}."
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{shown}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _ledgers(found: Iterable[tuple[Proxy, Stats]]) -> Iterator[tuple[_Labels, Ledger]]:
    for proxy, stats in found:
        for direction, ledger in (("downstream", stats.to_client), ("upstream", stats.to_upstream)):
            own = {"direction": direction, "listener": proxy.listen, "proxy": proxy.name, "upstream": proxy.upstream}
            yield own, ledger


def _read(found: Iterable[tuple[Proxy, Stats]]) -> Iterator[_Sample]:
    return ((labels, ledger.read) for labels, ledger in _ledgers(found))


def _sent(found: Iterable[tuple[Proxy, Stats]]) -> Iterator[_Sample]:
    return ((labels, ledger.delivered) for labels, ledger in _ledgers(found))


def _strikes(found: Iterable[tuple[Proxy, Stats]]) -> Iterator[_Sample]:
    for proxy, _ in found:
        for toxic in proxy.toxics:
            yield {"proxy": proxy.name, "toxic": toxic.name}, sum(fault.strikes for fault in toxic.faults)
