"""The answers of hooks, and callbacks for them, as types."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from ._client_hello import ClientHello, Pass
from ._connection import Connection, Side
from ._forward import ForwardTo
from ._preread import More
from ._side import Buffer
from ._tls import Tls

Answer: TypeAlias = Buffer | Sequence[Buffer] | None
"""The answer of on_recv: None to pass the chunk on, or what to send instead."""
RecvResult: TypeAlias = Answer | Awaitable[Answer]
"""The result of a callback for on_recv; with `async def` the answer comes later."""
OnRecv: TypeAlias = Callable[[Side, bytes], RecvResult] | Callable[[Side, memoryview], RecvResult]
"""A callback for on_recv: the second kind with `buffer="view"`."""
EofAnswer: TypeAlias = Buffer | Sequence[Buffer] | bool | None
"""The answer of on_eof: None to pass the end on, data to send before it, False to withhold it."""
EofResult: TypeAlias = EofAnswer | Awaitable[EofAnswer]
"""The result of a callback for on_eof."""
OnEof: TypeAlias = Callable[[Side], EofResult]
"""A callback for on_eof."""
AcceptAnswer: TypeAlias = ForwardTo | Side | socket.socket | bool | None
"""The answer of on_accept: None for `forward_to`, False to refuse, or where to go."""
AcceptResult: TypeAlias = AcceptAnswer | Awaitable[AcceptAnswer]
"""The result of a callback for on_accept."""
OnAccept: TypeAlias = Callable[[Connection], AcceptResult]
"""A callback for on_accept."""
HelloAnswer: TypeAlias = ForwardTo | Pass | Tls | bool | None
"""The answer of on_client_hello: None for what `tls` and `forward_to` say, False to refuse, or what to do instead."""
HelloResult: TypeAlias = HelloAnswer | Awaitable[HelloAnswer]
"""The result of a callback for on_client_hello."""
OnClientHello: TypeAlias = Callable[[Connection, ClientHello], HelloResult]
"""A callback for on_client_hello."""
PrereadAnswer: TypeAlias = AcceptAnswer | More
"""The answer of on_preread: MORE to be called again with more bytes, or what on_accept answers."""
PrereadResult: TypeAlias = PrereadAnswer | Awaitable[PrereadAnswer]
"""The result of a callback for on_preread."""
OnPreread: TypeAlias = Callable[[Connection, bytes], PrereadResult]
"""A callback for on_preread."""
ConnectionResult: TypeAlias = Awaitable[None] | None
"""The result of a callback for on_connect or on_close."""
OnConnection: TypeAlias = Callable[[Connection], ConnectionResult]
"""A callback for on_connect or on_close."""
