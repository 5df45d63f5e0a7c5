"""The calls of toxiproxy's API, by path and method."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import unquote

from .. import _native
from .._exceptions import printable
from ._body import value_of
from ._message import Request, Response
from ._metrics import metrics_of
from ._proxies import Proxies
from ._proxy import Proxy
from ._refusal import RefusedError, among

SPOKEN = "2.12.0"
"""The version of toxiproxy whose API this is."""

_Call: TypeAlias = Callable[[Proxies, Request, tuple[str, ...]], Response]


def answer(proxies: Proxies, request: Request) -> Response:
    """Return the response to a request, after it was done."""
    try:
        if request.headers.get("user-agent", "").startswith("Mozilla/"):
            raise RefusedError(403, "User agent not allowed")
        pattern, names = _route_of(request.path)
        calls = _CALLS[pattern]
        if request.method not in calls:
            return refused(
                RefusedError(405, f"method not allowed: {pattern} takes {', '.join(calls)}"), allow=", ".join(calls)
            )
        return calls[request.method](proxies, request, names)
    except RefusedError as refusal:
        return refused(refusal)


def refused(refusal: RefusedError, *, allow: str = "", **more: object) -> Response:
    """Return the response that says why a request was not done."""
    body = json.dumps({"error": refusal.text, "status": refusal.status, **more})
    return Response(refusal.status, f"{body}\n".encode(), allow=allow)


def _route_of(path: str) -> tuple[str, tuple[str, ...]]:
    """Return the pattern that a path has, and the names in the places of its words in braces."""
    parts = [unquote(part) for part in path.split("/")[1:]]
    for pattern in _CALLS:
        words = pattern.split("/")[1:]
        if len(words) == len(parts) and all(
            word == part or (word.startswith("{") and part) for word, part in zip(words, parts, strict=True)
        ):
            return pattern, tuple(part for word, part in zip(words, parts, strict=True) if word.startswith("{"))
    near = among(parts[0], tuple(pattern[1:] for pattern in _CALLS if pattern.count("/") == 1))
    raise RefusedError(404, f"404 page not found: there is no {printable(path[:100])}; {near}")


def _shown(value: object, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode())


def _index(proxies: Proxies, _: Request, __: tuple[str, ...]) -> Response:
    return _shown({proxy.name: proxy.shown() for proxy in proxies})


def _create(proxies: Proxies, request: Request, _: tuple[str, ...]) -> Response:
    return _shown(proxies.create(value_of(request.body)).shown(), 201)


def _populate(proxies: Proxies, request: Request, _: tuple[str, ...]) -> Response:
    done: list[Proxy] = []
    try:
        proxies.populate(value_of(request.body), done)
    except RefusedError as refusal:
        return refused(refusal, proxies=[proxy.shown() for proxy in done])
    return _shown({"proxies": [proxy.shown() for proxy in done]}, 201)


def _show(proxies: Proxies, _: Request, names: tuple[str, ...]) -> Response:
    return _shown(proxies.get(names[0]).shown())


def _change(proxies: Proxies, request: Request, names: tuple[str, ...]) -> Response:
    proxy = proxies.get(names[0])
    proxy.change(value_of(request.body))
    return _shown(proxy.shown())


def _delete(proxies: Proxies, _: Request, names: tuple[str, ...]) -> Response:
    proxies.delete(names[0])
    return Response(204)


def _toxics(proxies: Proxies, _: Request, names: tuple[str, ...]) -> Response:
    return _shown([toxic.shown() for toxic in proxies.get(names[0]).listed()])


def _add_toxic(proxies: Proxies, request: Request, names: tuple[str, ...]) -> Response:
    return _shown(proxies.get(names[0]).add(value_of(request.body)).shown())


def _toxic(proxies: Proxies, _: Request, names: tuple[str, ...]) -> Response:
    return _shown(proxies.get(names[0]).toxic(names[1]).shown())


def _change_toxic(proxies: Proxies, request: Request, names: tuple[str, ...]) -> Response:
    proxy = proxies.get(names[0])
    proxy.toxic(names[1])
    return _shown(proxy.change_toxic(names[1], value_of(request.body)).shown())


def _remove_toxic(proxies: Proxies, _: Request, names: tuple[str, ...]) -> Response:
    proxies.get(names[0]).remove(names[1])
    return Response(204)


def _reset(proxies: Proxies, _: Request, __: tuple[str, ...]) -> Response:
    proxies.reset()
    return Response(204)


def _version(_: Proxies, __: Request, ___: tuple[str, ...]) -> Response:
    body = json.dumps({"version": SPOKEN, "interpose": _native.version})
    return Response(200, f"{body}\n".encode(), "application/json;charset=utf-8")


def _metrics(proxies: Proxies, _: Request, __: tuple[str, ...]) -> Response:
    return Response(200, metrics_of(proxies).encode(), "text/plain; version=0.0.4; charset=utf-8")


_CALLS: dict[str, dict[str, _Call]] = {
    "/proxies": {"GET": _index, "POST": _create},
    "/populate": {"POST": _populate},
    "/proxies/{proxy}": {"GET": _show, "POST": _change, "PATCH": _change, "DELETE": _delete},
    "/proxies/{proxy}/toxics": {"GET": _toxics, "POST": _add_toxic},
    "/proxies/{proxy}/toxics/{toxic}": {
        "GET": _toxic,
        "POST": _change_toxic,
        "PATCH": _change_toxic,
        "DELETE": _remove_toxic,
    },
    "/reset": {"POST": _reset},
    "/version": {"GET": _version},
    "/metrics": {"GET": _metrics},
}
