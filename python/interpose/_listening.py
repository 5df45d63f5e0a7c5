"""The entrance of a server: refusing clients for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._shadowable import shadowable

if TYPE_CHECKING:
    from ._native import Server


class Listening:
    """The part of a server that opens and shuts its entrance."""

    if TYPE_CHECKING:

        def _ours(self) -> Server: ...

    def pause_listening(self) -> None:
        """Refuse clients from now on, as if the server did not run: connecting fails with ECONNREFUSED.

        The address stays this server's: no other program can take it meanwhile. Clients whose connect has succeeded
        are served, and connections live on. A second call does nothing. Callbacks may call it.

        Raises ServerStoppedError and ForkError; ConfigError for a socket that the process was started with (`fd:3`),
        and BindError where the system cannot keep the address, such as Windows.

        >>> import socket
        >>> from interpose import TheServer
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     server.pause_listening()
        ...     try:
        ...         socket.create_connection(server.address)
        ...     except ConnectionRefusedError:
        ...         print("refused")
        ...     server.resume_listening()
        ...     socket.create_connection(server.address).close()
        refused
        """
        self._ours().pause_listening(True)

    def resume_listening(self) -> None:
        """Listen again after pause_listening(): when this returns, clients can connect. A second call does nothing.

        Raises ServerStoppedError and ForkError, and BindError where it cannot listen: then it may be called again.

        >>> from interpose import TheServer
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     server.pause_listening()
        ...     server.resume_listening()
        ...     server.is_listening
        True
        """
        self._ours().pause_listening(False)

    @shadowable
    def is_listening(self) -> bool:
        """True while clients can connect: not after pause_listening(), and not once it was stopped. Raises ForkError.

        >>> from interpose import TheServer
        >>> with TheServer("", 0, "127.0.0.1:7070") as server:
        ...     server.is_listening
        True
        """
        return self._ours().is_listening


def state_of(native: Server) -> str:
    """Return the word for a server's state."""
    if native.is_closed:
        return "closed"
    if native.stopping:
        return "stopping"
    if not native.is_listening:
        return "refusing clients"
    return "started" if native.started else "listening"
