"""Messages of HTTP/1.1, as far as an API of small JSON documents needs them: bytes in, requests out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from http import HTTPStatus

from ._refusal import RefusedError

MOST_HEAD = 16 * 1024
MOST_BODY = 1024 * 1024

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path` is as it was sent, without its query; names of `headers` are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Response:
    """A response; without a body, its status says all."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    allow: str = ""

    def written(self, *, is_last: bool, is_head: bool = False) -> bytes:
        """Return the bytes to send."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines.append(f"X-Toxiproxy-Request-Id: {os.urandom(10).hex()}")
        if self.allow:
            lines.append(f"Allow: {self.allow}")
        if self.status != 204:
            lines += [f"Content-Type: {self.kind}", f"Content-Length: {len(self.body)}"]
        if is_last:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if is_head else self.body)


@dataclass(slots=True)
class _Head:
    method: str
    path: str
    headers: dict[str, str]
    is_last: bool
    length: int
    is_chunked: bool
    asks: bool


class RequestReader:
    """Reads the requests of one client. It keeps a head, a body and one read at most."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes that the client has sent."""
        self._data += data

    @property
    def is_amid(self) -> bool:
        """Return whether a request has begun that is not whole."""
        return bool(self._data) or self._head is not None

    def asks_to_go_on(self) -> bool:
        """Return once whether the client waits for a word before it sends the body."""
        asked = self._head is not None and self._head.asks
        if self._head is not None:
            self._head.asks = False
        return asked

    def next(self) -> Request | None:
        """Return the next whole request, or None. Raises RefusedError, after which nothing more can be read."""
        if self._head is None:
            # Empty lines before a request mean nothing.
            while self._data.startswith(b"\r\n"):
                del self._data[:2]
            end = self._data.find(b"\r\n\r\n")
            if end > MOST_HEAD or (end < 0 and len(self._data) > MOST_HEAD):
                raise RefusedError(431, f"the head of the request is longer than {MOST_HEAD} bytes")
            if end < 0:
                return None
            head = bytes(self._data[:end])
            del self._data[: end + 4]
            self._head = _head_of(head)
        head_read = self._head
        if not (self._has_chunks() if head_read.is_chunked else self._has_body(head_read.length)):
            return None
        body, self._body, self._head = bytes(self._body), bytearray(), None
        return Request(head_read.method, head_read.path, head_read.headers, body, head_read.is_last)

    def _has_body(self, length: int) -> bool:
        taken = self._data[: length - len(self._body)]
        self._body += taken
        del self._data[: len(taken)]
        return len(self._body) == length

    def _has_chunks(self) -> bool:
        while True:
            end = self._data.find(b"\r\n")
            if end < 0:
                if len(self._data) > MOST_HEAD:
                    raise RefusedError(400, "a line between chunks is too long")
                return False
            digits = bytes(self._data[:end]).split(b";")[0].strip()
            if not 0 < len(digits) <= 8 or not _HEX.issuperset(digits):
                raise RefusedError(400, "the length of a chunk is not hexadecimal")
            size = int(digits, 16)
            if len(self._body) + size > MOST_BODY:
                raise _too_large()
            if size == 0:
                return self._has_trailer(end)
            if len(self._data) < end + 2 + size + 2:
                return False
            if not self._data.startswith(b"\r\n", end + 2 + size):
                raise RefusedError(400, "a chunk is not followed by a line's end")
            self._body += self._data[end + 2 : end + 2 + size]
            del self._data[: end + 4 + size]

    def _has_trailer(self, begin: int) -> bool:
        """Return whether all behind the last chunk is there, and take it away."""
        # The line of the last chunk ends in what may be the beginning of an empty one.
        end = self._data.find(b"\r\n\r\n", begin)
        if end > MOST_HEAD or (end < 0 and len(self._data) > MOST_HEAD):
            raise RefusedError(431, f"the trailer of the request is longer than {MOST_HEAD} bytes")
        if end < 0:
            return False
        del self._data[: end + 4]
        return True


def _head_of(data: bytes) -> _Head:
    first, *lines = data.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or not words[0] or not _TOKEN.issuperset(words[0]) or not words[1].startswith(b"/"):
        raise RefusedError(400, "the first line is not that of a request, such as GET /proxies HTTP/1.1")
    if words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RefusedError(505, "the version of HTTP is neither 1.1 nor 1.0")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not _TOKEN.issuperset(name) or b"\0" in value:
            raise RefusedError(400, "a line of the head is not a name and a value")
        key = name.decode("latin-1").lower()
        if key == "content-length" and key in headers:
            raise RefusedError(400, "Content-Length is there twice")
        headers[key] = value.strip().decode("latin-1")
    coding, length = headers.get("transfer-encoding", ""), headers.get("content-length", "0")
    if coding and (coding.lower() != "chunked" or "content-length" in headers):
        raise RefusedError(400, "Transfer-Encoding is not chunked alone")
    if not (length.isascii() and length.isdigit()):
        raise RefusedError(400, "Content-Length is not a number")
    if len(length) > 9 or int(length) > MOST_BODY:
        raise _too_large()
    wishes = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    is_last = "close" in wishes or (words[2] == b"HTTP/1.0" and "keep-alive" not in wishes)
    asks = headers.get("expect", "").lower() == "100-continue" and words[2] == b"HTTP/1.1"
    path = words[1].partition(b"?")[0].decode("latin-1")
    return _Head(words[0].decode(), path, headers, is_last, int(length), bool(coding), asks)


def _too_large() -> RefusedError:
    return RefusedError(413, f"the body of the request is longer than {MOST_BODY} bytes")
