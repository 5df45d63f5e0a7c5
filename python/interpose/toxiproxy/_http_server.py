"""A small HTTP server: one thread, requests one after the other, and a bound for everything that a client can do."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from .._exceptions import printable
from ._message import Request, RequestReader, Response
from ._refusal import RefusedError
from ._routes import refused

MOST_VISITORS = 128
REQUEST_SECONDS = 15.0
IDLE_SECONDS = 60.0
WRITE_SECONDS = 30.0

# How long a client that was refused may go on sending, so that its system does not drop the answer.
_LEAVING_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_SECONDS = 0.05
_ACCEPTS = 16

_logger = logging.getLogger("interpose.toxiproxy")


class _Visitor:
    """A client: what it has sent, what it is to get, and until when it may take its time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = RequestReader()
        self.out = bytearray()
        self.since = time.monotonic()
        self.until = self.since + IDLE_SECONDS
        # A request has begun; another may be there already; no more are taken; all that is read is dropped.
        self.is_amid = False
        self.may_have_more = False
        self.is_last = False
        self.is_leaving = False

    def allow(self, seconds: float) -> None:
        """Allow it some more time."""
        self.until = time.monotonic() + seconds


class HttpServer:
    """Serves a listening socket by `answer`, in the thread that calls run(), until stop()."""

    def __init__(self, listener: socket.socket, answer: Callable[[Request], Response]) -> None:
        self._listener = listener
        self._answer = answer
        self._visitors: dict[int, _Visitor] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for sock in (listener, self._woken, self._waker):
            sock.setblocking(False)
        self._stopping = False

    def stop(self) -> None:
        """Have run() return; from any thread, and more than once."""
        self._stopping = True
        # The thread may have closed it already.
        with suppress(OSError):
            self._waker.send(b"x")

    def run(self) -> None:
        """Serve until stop(), then close everything."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            while not self._stopping:
                self._turn()
        finally:
            for visitor in list(self._visitors.values()):
                self._close(visitor)
            self._selector.close()
            for sock in (self._listener, self._woken, self._waker):
                sock.close()

    def _turn(self) -> None:
        now = time.monotonic()
        first = min((visitor.until for visitor in self._visitors.values()), default=now + IDLE_SECONDS)
        for key, events in self._selector.select(max(0.0, first - now)):
            if key.fileobj is self._listener:
                self._accept()
            elif (visitor := self._visitors.get(key.fd)) is not None:
                self._serve(visitor, events)
        now = time.monotonic()
        for visitor in [one for one in self._visitors.values() if one.until <= now]:
            self._late(visitor)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM and not self._evict():
                    time.sleep(_PAUSE_SECONDS)
                return
            if len(self._visitors) >= MOST_VISITORS:
                self._evict()
            sock.setblocking(False)
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._visitors[sock.fileno()] = _Visitor(sock)
            self._selector.register(sock, selectors.EVENT_READ)

    def _evict(self) -> bool:
        """Close the client that has done nothing for the longest time; return False if there is none."""
        if not self._visitors:
            return False
        self._close(min(self._visitors.values(), key=lambda one: one.since))
        return True

    def _serve(self, visitor: _Visitor, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not self._receive(visitor):
                self._close(visitor)
                return
            self._step(visitor)
        except BlockingIOError:
            pass
        except OSError:
            self._close(visitor)

    def _receive(self, visitor: _Visitor) -> bool:
        """Read what has come; return False at its end."""
        data = visitor.sock.recv(_READ_BYTES)
        if not visitor.is_leaving:
            visitor.reader.feed(data)
        return bool(data)

    def _step(self, visitor: _Visitor) -> None:
        """Answer one request at most, so that others have their turn, and send what can be sent."""
        if not visitor.out and not visitor.is_last:
            self._take(visitor)
        if visitor.out:
            self._send(visitor)
        waits = visitor.out or visitor.may_have_more
        self._selector.modify(visitor.sock, selectors.EVENT_WRITE if waits else selectors.EVENT_READ)

    def _take(self, visitor: _Visitor) -> None:
        """Answer the next request, if it is whole."""
        try:
            request = visitor.reader.next()
        except RefusedError as refusal:
            self._refuse(visitor, refusal)
            return
        visitor.may_have_more = request is not None and not request.is_last and visitor.reader.is_amid
        if request is not None:
            visitor.since, visitor.is_amid, visitor.is_last = time.monotonic(), False, request.is_last
            visitor.out += self._answered(request)
            visitor.allow(WRITE_SECONDS)
            return
        if visitor.reader.is_amid and not visitor.is_amid:
            # From its first byte on, however slowly the others come.
            visitor.is_amid = True
            visitor.allow(REQUEST_SECONDS)
        if visitor.reader.asks_to_go_on():
            visitor.out += b"HTTP/1.1 100 Continue\r\n\r\n"

    def _answered(self, request: Request) -> bytes:
        try:
            response = self._answer(request)
        except Exception:
            _logger.exception("toxiproxy API: %s %s failed", request.method, printable(request.path[:100]))
            response = refused(RefusedError(500, "internal error; the log has it"))
        return response.written(is_last=request.is_last, is_head=request.method == "HEAD")

    def _refuse(self, visitor: _Visitor, refusal: RefusedError) -> None:
        """Answer what is no request: nothing behind it can be understood."""
        visitor.is_last, visitor.is_amid, visitor.may_have_more = True, False, False
        visitor.out += refused(refusal).written(is_last=True)
        visitor.allow(WRITE_SECONDS)

    def _send(self, visitor: _Visitor) -> None:
        with suppress(BlockingIOError):
            del visitor.out[: visitor.sock.send(visitor.out)]
        if visitor.out or visitor.is_amid:
            return
        if visitor.is_last:
            visitor.is_leaving = True
            visitor.sock.shutdown(socket.SHUT_WR)
            visitor.allow(_LEAVING_SECONDS)
        else:
            visitor.allow(WRITE_SECONDS if visitor.may_have_more else IDLE_SECONDS)

    def _late(self, visitor: _Visitor) -> None:
        """End a client whose time is over; one that has begun a request hears why."""
        if not visitor.is_amid or visitor.out:
            self._close(visitor)
            return
        self._refuse(visitor, RefusedError(408, f"the request took more than {REQUEST_SECONDS:g} s"))
        self._serve(visitor, selectors.EVENT_WRITE)

    def _close(self, visitor: _Visitor) -> None:
        if self._visitors.pop(visitor.sock.fileno(), None) is not None:
            self._selector.unregister(visitor.sock)
            visitor.sock.close()
