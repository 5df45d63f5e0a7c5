"""The API while it serves."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from types import TracebackType
from typing import NoReturn, Self

from .._addresses import Address, address_text, listen_address
from .._checks import seconds
from .._exceptions import (
    ArgumentTypeError,
    BindError,
    BindPermissionError,
    ConfigError,
    ForkError,
    ResolveError,
    printable,
    wrong_type,
)
from .._faulting import seed_or_none
from .._server import TheServer
from .._threads import ReentrantLock, start_thread
from ._http_server import HttpServer
from ._message import Request, Response
from ._proxies import Proxies
from ._routes import answer

PORT = 8474
"""The port that clients of toxiproxy take by default."""

_BACKLOG = 128
# Longer than any request may hold up the thread.
_JOIN_SECONDS = 5.0

_logger = logging.getLogger("interpose.toxiproxy")


class ToxiproxyApi:
    """toxiproxy's HTTP API, which serves in the background until stop(), or the end of its `with` block.

    `serve()` makes it. It has its own thread, and no part in what its proxies carry.

    >>> from interpose import toxiproxy
    >>> with toxiproxy.serve(port=0) as api:
    ...     api.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, host: str = "127.0.0.1", port: int = PORT, *, seed: int | None = None) -> None:
        if not isinstance(host, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong_type("host", host, "a str", 'write serve("127.0.0.1", port=8474)')
        name, number = listen_address(host, port)
        if number is None or name.startswith(("unix:", "fd:")):
            raise ConfigError("host: the API has a host and a port; give such as 127.0.0.1 and 8474")
        self._proxies = Proxies(seed_or_none(seed))
        self._pid = os.getpid()
        listener = _listening(name, number)
        self._address = Address(*listener.getsockname()[:2])
        self._is_stopped = False
        self._lock = ReentrantLock()
        try:
            _warn_if_reachable(self._address)
            self._http = HttpServer(listener, self._answer)
            self._thread = start_thread("interpose-toxiproxy", self._http.run)
        except BaseException:
            listener.close()
            raise

    @property
    def address(self) -> Address:
        """Where it listens: `(host, port)`, whose text is `host:port`."""
        return self._address

    @property
    def url(self) -> str:
        """Where clients find it, such as `http://127.0.0.1:8474`."""
        return f"http://{self._address}"

    @property
    def servers(self) -> dict[str, TheServer]:
        """The servers of the proxies that have listened so far, by the names of the proxies.

        >>> from interpose import toxiproxy
        >>> with toxiproxy.serve(port=0) as api:
        ...     api.servers
        {}
        """
        return self._proxies.servers()

    def main_loop(self) -> None:
        """Wait until stop() is called elsewhere. Ctrl-C raises KeyboardInterrupt here, after everything was ended.

        Raises ForkError.

        >>> import threading
        >>> from interpose import toxiproxy
        >>> api = toxiproxy.serve(port=0)
        >>> threading.Timer(0.1, api.stop).start()
        >>> api.main_loop()
        """
        self._check_process()
        try:
            self._thread.join()
        finally:
            self.stop()

    def stop(self, drain: float = 0.0) -> None:
        """Answer no more, and end all proxies; return when all is closed. Connections have `drain` seconds to finish.

        It may be called from any thread, and more than once. Raises ForkError, ArgumentTypeError and ConfigError.

        >>> from interpose import toxiproxy
        >>> toxiproxy.serve(port=0).stop()
        """
        end = time.monotonic() + seconds("drain", drain, zero=True)
        self._check_process()
        self._http.stop()
        if drain:
            self.begin_stop(drain)
        self._thread.join(_JOIN_SECONDS)
        with self._lock:
            for server in self._proxies.servers().values() if drain else ():
                server.stop(max(0.0, end - time.monotonic()))
            self._proxies.end()
            self._is_stopped = True

    def begin_stop(self, drain: float = 0.0) -> None:
        """Begin to stop, and return at once. What has not finished after `drain` seconds is reset.

        Raises ForkError, ArgumentTypeError and ConfigError.

        >>> from interpose import toxiproxy
        >>> api = toxiproxy.serve(port=0)
        >>> api.begin_stop()
        >>> api.stop()
        """
        later = seconds("drain", drain, zero=True)
        self._check_process()
        self._http.stop()
        for server in self._proxies.servers().values():
            server._native.stop(later)  # pyright: ignore[reportPrivateUsage]

    def __enter__(self) -> Self:
        """Return it: it serves already. Raises ForkError."""
        self._check_process()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop. In a forked child do nothing."""
        if os.getpid() == self._pid:
            self.stop()

    def __repr__(self) -> str:
        state = "stopped" if self._is_stopped else f"{len(self.servers)} servers"
        return f"<ToxiproxyApi {self._address}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError("toxiproxy API: it cannot be pickled or copied, it holds a socket; make another one")

    def _answer(self, request: Request) -> Response:
        with self._lock:
            return answer(self._proxies, request)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkError("toxiproxy API: it belongs to the process this one was forked from; make a new one here")


def _listening(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise BindError or ResolveError."""
    shown = address_text((host, port))
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) and error.errno is not None else 0
        advice = "give an address of this machine, such as 127.0.0.1"
        raise ResolveError(number, f"cannot listen on {shown}: the name has no address; {advice}") from error
    family, _, _, _, address = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _bind_error(shown, error) from error
    return sock


def _bind_error(shown: str, error: OSError) -> BindError:
    words = printable(error.strerror or f"{error}").lower()
    advice = "give an address of this machine, such as 127.0.0.1"
    if error.errno == errno.EADDRINUSE:
        advice = "another program listens there, perhaps a toxiproxy; stop it, or choose another port"
    kind = BindPermissionError if error.errno in (errno.EACCES, errno.EPERM) else BindError
    if kind is BindPermissionError:
        advice = "choose a port from 1024 on"
    return kind(error.errno or 0, f"toxiproxy API: cannot listen on {shown}: {words}; {advice}")


def _warn_if_reachable(address: Address) -> None:
    if address.host == "::1" or address.host.startswith("127."):
        return
    _logger.warning(
        "toxiproxy API %s: every machine that can reach this one can have it listen anywhere, and forward to "
        "wherever this one can connect; listen on 127.0.0.1",
        address,
    )
