"""Requests that are answered with an error."""

from __future__ import annotations

from collections.abc import Iterable

from .._exceptions import printable
from .._names import nearest


class RefusedError(Exception):
    """The answer to a request that is not done: an HTTP status, and one line that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def bad_body(why: str) -> RefusedError:
    """Return the refusal of a body that means nothing."""
    return RefusedError(400, f"bad request body: {why}")


def missing(field: str) -> RefusedError:
    """Return the refusal of a body that lacks a field."""
    return RefusedError(400, f"missing required field: {field}")


def no_such(what: str, name: str, known: Iterable[str]) -> RefusedError:
    """Return the refusal of a name that nothing has, with the nearest one that something has.

    >>> no_such("proxy", "reddis", ["redis", "mysql"]).text
    "proxy not found: there is no 'reddis'; did you mean 'redis'?"
    >>> no_such("proxy", "reddis", []).text
    'proxy not found'
    """
    near = nearest(name, known, {})
    advice = f": there is no {printable(name)!r}; did you mean {printable(near)!r}?" if near else ""
    return RefusedError(404, f"{what} not found{advice}")


def among(name: str, known: tuple[str, ...]) -> str:
    """Return the advice for a word that is none of `known`.

    >>> among("latncy", ("latency", "noop")), among("x", ("latency", "noop"))
    ("did you mean 'latency'?", 'there are latency, noop')
    """
    near = nearest(name, known, {})
    return f"did you mean {near!r}?" if near else f"there are {', '.join(known)}" if known else "there are none"
