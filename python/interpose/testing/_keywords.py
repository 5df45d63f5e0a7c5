"""The settings that a proxy hands on to its server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from .._by_name import TlsFor
    from .._fault import Fault
    from .._filter import Filter
    from .._forward import ForwardTo
    from .._framing_pair import FramingFor
    from .._groups import Callbacks, Limits, Listen, Relay, Timeouts
    from .._hook_answers import OnAccept, OnClientHello, OnConnection, OnEof, OnPreread, OnRecv


class ServerKeywords(TypedDict, total=False):
    """The keywords of TheServer, which says what each means."""

    on_accept: OnAccept | None
    on_client_hello: OnClientHello | None
    on_preread: OnPreread | None
    on_connect: OnConnection | None
    on_recv: OnRecv | None
    on_client_recv: OnRecv | None
    on_upstream_recv: OnRecv | None
    on_eof: OnEof | None
    on_close: OnConnection | None
    mirror_to: ForwardTo | None
    timeouts: Timeouts
    limits: Limits
    relay: Relay
    listen: Listen
    callbacks: Callbacks
    framing: FramingFor
    tls: TlsFor
    filters: Sequence[Filter] | None
    faults: Sequence[Fault]
    seed: int | None
