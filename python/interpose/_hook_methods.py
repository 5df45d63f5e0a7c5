"""The hooks as methods of a server, to override and to decorate with; and names that are nearly theirs."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from ._client_hello import ClientHello
from ._connection import Connection, Side
from ._exceptions import printable
from ._hook_answers import AcceptAnswer, Answer, EofAnswer, HelloAnswer, PrereadAnswer
from ._hook_decorators import is_default, wrap_overrides
from ._hook_types import (
    accept_hook,
    client_recv_hook,
    close_hook,
    connect_hook,
    eof_hook,
    hello_hook,
    preread_hook,
    recv_hook,
    upstream_recv_hook,
)
from ._hooks import HOOKS
from ._names import HOOKS as HOOK_ALIASES
from ._names import is_alias, nearest


class HookMethods:
    """The hooks, as methods to override, and as decorators of a server. A hook without a callback costs nothing.

    `@server.on_recv` has the server call the function that follows, from the next chunk on, in the place of one that
    was decorated before, or of a subclass's method.

    A callback runs on its server's lane, the thread of `main_loop()` or one that `start()` makes, one at a time;
    with `Callbacks(threads=...)` above 1, one at a time for each connection. One that is `async def` runs as a task of
    the event loop that serves, or of one in a thread of the server's own; while it waits, its direction is not read.
    An exception in it closes that connection
    (both sides are reset), is logged once to `interpose.callback`, and counted in `Stats.callback_errors`; with
    `Callbacks(errors="pass")` the answer counts as None instead, with `"raise"` it comes out of `stop()`, `with` or
    `main_loop()` as well. KeyboardInterrupt and SystemExit stop the server
    and come out of `main_loop()`.
    """

    def __init_subclass__(cls, **named: Any) -> None:
        """Make the methods that override hooks usable as decorators, as the hooks are."""
        super().__init_subclass__(**named)
        wrap_overrides(cls, HOOKS)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            if name in HOOKS:
                # A method that was put into the class after that was made becomes a hook here.
                wrap_overrides(type(self), (name,))
            elif name.startswith("on"):
                refuse_slip(self, name)
            super().__setattr__(name, value)

    @accept_hook
    def on_accept(self, conn: Connection) -> AcceptAnswer:
        """Decide where a client goes. Called once for each client, before anything is connected or read.

        Return None to use `forward_to`; a Forward, `(host, port)` or an address text to go there; the side that
        `Forward.start()` has connected, or a connected `socket.socket`, which is taken over;
        `Forward.NOWHERE` for no upstream, so that callbacks answer; False to refuse: the client is reset, or,
        if `conn.client.send()` was called, gets that and an end of stream.
        """

    @hello_hook
    def on_client_hello(self, conn: Connection, hello: ClientHello) -> HelloAnswer:
        """Decide by the first message of a TLS client, before it is decrypted and before every other hook.

        Return None for what `tls` and `forward_to` say; `interpose.PASS` to pass its TLS on undecrypted, byte for byte;
        a Forward, `(host, port)` or an address text to go there; a Tls to decrypt with that; False to refuse: the
        client gets the alert `access_denied`. on_accept and on_preread are asked afterwards, and may still choose
        another upstream. One that speaks no TLS is reset, unless `auto=True` or `tls="auto"` takes it; it has 10 s.
        """

    @preread_hook
    def on_preread(self, conn: Connection, data: bytes) -> PrereadAnswer:
        """Decide where a client goes by what it says first. `data` is all that it has sent so far, as bytes.

        Called when the client has sent something, and on_accept, if it is there, has answered None. Return
        `interpose.MORE` to be called again, with all bytes, when more have come; else what on_accept may return.
        What was shown here is relayed, or comes to on_recv. `Callbacks.preread_limit` and `preread_timeout` bound it.
        """

    @connect_hook
    def on_connect(self, conn: Connection) -> None:
        """Greet the upstream. Called once, when it is connected, before a byte was read from either side.

        What `conn.upstream.send()` is given here arrives before anything of the client's.
        """

    @recv_hook
    def on_recv(self, side: Side, data: bytes) -> Answer:
        """See a chunk that `side` has sent. Its borders mean nothing; each byte comes once and in order.

        Return None to pass it on, a bytes-like object to send that instead, a list of them to send those in
        order, or `b""` to drop it. Called for both directions unless `on_client_recv` or `on_upstream_recv`
        is there for one. A chunk has `buffer_size` bytes at most.
        """

    @client_recv_hook
    def on_client_recv(self, side: Side, data: bytes) -> Answer:
        """Do what on_recv does for what the client sends. The other direction is relayed natively."""

    @upstream_recv_hook
    def on_upstream_recv(self, side: Side, data: bytes) -> Answer:
        """Do what on_recv does for what the upstream sends. The other direction is relayed natively."""

    @eof_hook
    def on_eof(self, side: Side) -> EofAnswer:
        """See the end of what `side` sends. Called once a side at most, after on_recv has seen all of it.

        Return None to pass the end on, bytes to send those before it, or False to withhold it: then the other
        side gets it from `side.other.half_close()` or `close()`, or the time limit `Timeouts.half_close` ends
        the connection. A side that resets has no end of stream.
        """

    @close_hook
    def on_close(self, conn: Connection) -> None:
        """See the connection's end. Called exactly once for every client, after everything else.

        `conn.reason`, `conn.error` and the ledgers are final. Called without arguments, in a script of the
        tutorial's form, it hangs up on the side at hand.
        """


def warn_of_slips(kind: type) -> None:
    """Warn of methods of a subclass whose names are nearly those of hooks: nobody would ever call them."""
    if _is_ours(kind):
        return
    for name in dir(kind):
        meant = _meant(name)
        # A class that has the hook may well have helpers of such names.
        if meant and callable(getattr(kind, name)) and not (is_alias(name) and not is_default(kind, meant)):
            _say_slip(kind, name, meant)


def refuse_slip(server: object, name: str) -> None:
    """Raise for an attribute whose name is nearly that of a hook, before it is assigned; only warn in a subclass.

    A class may have any attribute that it declares.
    """
    kind = type(server)
    meant = _meant(name)
    if meant is None or hasattr(kind, name) or _declares(kind, name):
        return
    if _is_ours(kind):
        raise AttributeError(f"{printable(name)}: it is no hook, so it would never be called; did you mean {meant}?")
    _say_slip(kind, name, meant)


def _is_ours(kind: type) -> bool:
    return kind.__module__ in ("interpose._server", "interpose.testing._keeping_server")


def _declares(kind: type, name: str) -> bool:
    try:
        return any(name in inspect.get_annotations(one) for one in kind.__mro__)
    except NameError:
        return True  # Annotations that name what is not there yet, and are evaluated by asking.


def _meant(name: str) -> str | None:
    if name in HOOKS or not (name.lower().startswith("on") or is_alias(name)):
        return None
    return nearest(name, HOOKS, HOOK_ALIASES)


def _say_slip(kind: type, name: str, meant: str) -> None:
    text = "%s.%s: it is no hook, so it is not called as one; %s is"
    logging.getLogger("interpose.callback").warning(text, kind.__name__, printable(name), meant)
