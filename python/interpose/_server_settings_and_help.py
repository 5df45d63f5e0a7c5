"""The table of settings, first part: the groups that a program gives to a Forward or a server, with all their texts.

`_settings_and_help` has the groups of the command, says what comes from a row, and is what others import.
"""

from __future__ import annotations

from ._kinds import Choice, Count, LocalAddress, Seconds, Switch, Target, Targets
from ._rows import group, setting
from ._sizes import Size

# Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


@group("forward", "connecting to TARGET", "forward_to=Forward(host, port, {}=...)")
class ForwardSettings:
    """The settings of a Forward, beside its address."""

    connect_timeout: float = setting(
        default=10.0,
        kind=Seconds(),
        flag="--connect-timeout",
        others="timeout connect",
        help="how long looking up and connecting to TARGET may take",
        meaning="how long name lookup and connecting may take together",
    )
    source: str | None = setting(
        default=None,
        kind=LocalAddress(),
        flag="--source",
        others="sourceaddress sourceip localaddr localaddress bind",
        meaning="the local address to connect from",
    )
    fallback: tuple[str, ...] = setting(
        default=(),
        kind=Targets(),
        flag="--fallback",
        others="fallbacks backup backups failover alternatives standby",
        help="where to connect if TARGET fails; may be repeated",
        meaning="targets that are tried in this order when those before cannot be connected, each within its own "
        "`connect_timeout`: addresses or Forwards, 16 targets in all at most",
    )
    retry: float | None = setting(
        default=None,
        kind=Seconds(none=True, meaning="to try each target once"),
        flag="--retry",
        others="retries retrytimeout retryfor reconnect",
        help="how long to try again while no target can be connected",
        meaning="how long all targets are tried again, with pauses that grow from 50 ms to 1 s, while none can be "
        "connected and the client waits. None tries each once",
    )


@group("server", "copying what clients send", "TheServer(..., {}=...)", table="")
class ServerSettings:
    """The settings of a server that stand in no group."""

    mirror_to: str | None = setting(
        default=None,
        kind=Target(),
        flag="--mirror-to",
        help="a second target that gets a copy of what clients send",
        meaning="a second target, which gets a copy of what clients send. Its answers are dropped, it holds up "
        "nothing, and what it misses is counted",
    )


@group("timeouts", "time limits of a connection", "timeouts=Timeouts({}=...)")
class Timeouts:
    """How long a connection may stay without progress. Seconds; None is no limit.

    Raises ArgumentTypeError for what is no number and ConfigError for NaN, a negative number, less than a
    millisecond or more than 1,000,000,000 seconds.

    >>> from interpose import Timeouts
    >>> Timeouts(idle=300)
    Timeouts(half_close=120.0, idle=300.0, unacknowledged=None)
    """

    half_close: float | None = setting(
        default=120.0,
        kind=Seconds(none=True),
        flag="--half-close-timeout",
        others="halfclosetimeout",
        help="how long nothing may move once one side has ended",
        meaning="after one direction has ended: how long the other may stand still. It also bounds how long what a "
        "reset side sent before may take to be delivered. At the limit: reset, `half_close_timeout`",
        native=True,
    )
    idle: float | None = setting(
        default=None,
        kind=Seconds(none=True),
        flag="--idle-timeout",
        others="timeout idletimeout",
        help="how long nothing may move either way",
        meaning="how long both directions may stand still. None by default, because a relay cannot know what silence "
        "means. At the limit: reset, `idle_timeout`",
        native=True,
    )
    unacknowledged: float | None = setting(
        default=None,
        kind=Seconds(none=True),
        meaning="how long sent bytes may stay unacknowledged, or wait for a peer that does not read (TCP_USER_TIMEOUT, "
        "Linux). At the limit: `client_lost` or `upstream_lost`",
        native=True,
    )


@group("limits", "limits", "limits=Limits({}=...)")
class Limits:
    """How much a server may take.

    Raises ArgumentTypeError for what is no int and ConfigError for less than 1 or more than 2,147,483,647.

    >>> from interpose import Limits
    >>> Limits(max_connections=500)
    Limits(max_connections=500)
    """

    max_connections: int | None = setting(
        default=None,
        kind=Count(1, none="what descriptors allow, at most 10000"),
        flag="--max-connections",
        others="connections maxclients clients maximum limit maxconn",
        help="connections at once",
        meaning="connections at once. None is (the soft limit of open files - 64) / 2, at most 10,000. At the limit: "
        "clients wait in the backlog, and are accepted in their turn; a warning, one a second at most, and "
        "`Stats.max_connections_reached`",
        native=True,
    )


# A listener's `listen` is its address.
@group("listen", "listening", "listen=Listen({}=...)", table="listening")
class Listen:
    """How a server listens.

    Raises ArgumentTypeError and ConfigError.

    >>> from interpose import Listen
    >>> Listen(reuse_port=True)
    Listen(backlog=1024, reuse_port=True, log_connections=False, public=False)
    """

    backlog: int = setting(
        default=1024,
        kind=Count(1),
        flag="--backlog",
        help="clients that the kernel may queue",
        meaning="clients that the kernel may queue before they are accepted; "
        "the system may cut it (it is warned about)",
        native=True,
    )
    reuse_port: bool = setting(
        default=False,
        kind=Switch(),
        flag="--reuse-port",
        help="let other processes listen on the same port too",
        meaning="let other processes listen on the same port too, and the kernel spread clients over them "
        "(SO_REUSEPORT)",
        native=True,
    )
    log_connections: bool = setting(
        default=False,
        kind=Switch(),
        flag="--log-connections",
        others="accesslog logaccess connectionlog",
        help="log one line for each connection that ends",
        meaning="log one line for each connection that ends, at level INFO of the logger `interpose.access`: its "
        "addresses, how long it lived, the bytes delivered each way, and its close reason",
        native=True,
    )
    public: bool = setting(
        default=False,
        kind=Switch(),
        flag="--public",
        help="say that listening for every machine is meant",
        meaning="say that listening for every machine is meant; without it there is a warning",
    )


@group("relay", "relaying", "relay=Relay({}=...)")
class Relay:
    """How bytes are moved, and how callbacks get them.

    Raises ArgumentTypeError and ConfigError.

    >>> from interpose import Relay
    >>> Relay(buffer="view")
    Relay(buffer='view', buffer_size=None, max_message=16777216, framing_errors='close', splice=True, coalesce=True)
    """

    buffer: Literal["bytes", "view"] = setting(
        default="bytes",
        kind=Choice("bytes", "view"),
        meaning='what callbacks get a chunk as: `"bytes"`, or `"view"`: a read-only memoryview, which spares a chunk '
        "of 16 KiB or more its copy (as bytes, only those that follow one of the largest size are spared it). It may "
        "be kept, and keeps its buffer of `buffer_size` bytes then",
    )
    buffer_size: int | None = setting(
        default=None,
        kind=Size(1, 262144, none="262144"),
        others="bufsize chunksize",
        meaning="the most bytes of one chunk, 1 to 262,144. None takes the server's class attribute `buffer_size`, "
        "which is 262,144. Directions that no callback sees have buffers of their own",
        native=True,
    )
    max_message: int = setting(
        default=16 * 1024 * 1024,
        kind=Size(1, 2**31 - 1),
        others="maxmessagesize maxmsg messagelimit maxframe maxframesize maxline",
        meaning="with a framing: the most bytes of one message, which bounds what is held of one until it is whole. "
        "At the limit: as `framing_errors` says, with the reason `message_too_long`",
    )
    framing_errors: Literal["close", "chunk"] = setting(
        default="close",
        kind=Choice("close", "chunk"),
        others="onframingerror framingerror protocolerrors onprotocolerror",
        meaning="with a framing: what bytes that break the protocol, and a message that is too long, mean for their "
        'connection: `"close"` resets it, with the reason `protocol_error` or `message_too_long`; `"chunk"` ends the '
        "framing of that direction, with a warning, and callbacks get chunks from the first byte of that message on",
    )
    splice: bool = setting(
        default=True,
        kind=Switch(),
        flag="--no-splice",
        help="copy every byte, also of directions that stream",
        meaning="move the bytes of a direction that streams, and that no callback sees, without copying them "
        "(splice(2), Linux)",
        native=True,
    )
    coalesce: bool = setting(
        default=True,
        kind=Switch(),
        flag="--no-coalesce",
        help="never wait (4 ms at most) for more bytes of directions that stream",
        meaning="let a direction that has streamed fast for a while wait, up to 4 ms, until 256 KiB have come "
        "(SO_RCVLOWAT, Linux). That halves the CPU per GiB. False: every byte goes on as soon as it comes",
        native=True,
    )


@group("callbacks", "callbacks", "callbacks=Callbacks({}=...)")
class Callbacks:
    """How a server's callbacks run, and what their mistakes do.

    Raises ArgumentTypeError and ConfigError.

    >>> from interpose import Callbacks
    >>> Callbacks(errors="raise").errors
    'raise'
    """

    threads: int = setting(
        default=1,
        kind=Count(1, 256),
        others="callbackthreads workers numthreads nthreads",
        meaning="threads that run callbacks, 1 to 256; a connection stays on one. With more than one, callbacks of "
        "different connections run at once",
    )
    errors: Literal["close", "pass", "raise"] = setting(
        default="close",
        kind=Choice("close", "pass", "raise"),
        others="callbackerrors onerror raiseerrors",
        meaning='what an exception in a callback means for its connection: `"close"` resets it; `"pass"` goes on as if '
        'the answer had been None; `"raise"` resets it, and what was raised comes out of `stop()`, `with` or '
        "`main_loop()`, several as a group",
    )
    callback_timeout: float | None = setting(
        default=None,
        kind=Seconds(none=True),
        others="hooktimeout answertimeout",
        meaning="how long an `async def` callback may take; it is cancelled then, and counted in "
        "`Stats.callback_timeouts`",
    )
    on_timeout: Literal["close", "pass", "drop"] = setting(
        default="close",
        kind=Choice("close", "pass", "drop"),
        others="ontimeout ifslow",
        meaning='what that means for its connection: `"close"` resets it, `callback_timeout`; `"pass"` goes on as if '
        'the answer had been None; `"drop"` drops the chunk, and refuses a client that `on_accept` or `on_preread` was '
        "asked about",
        native=True,
    )
    preread_limit: int = setting(
        default=16 * 1024,
        kind=Size(1, 16 * 1024 * 1024),
        others="prereadsize prereadbuffer prereadbuffersize",
        meaning="the most bytes of a client that `on_preread` is called with, 1 to 16,777,216. A client about which it "
        'has not decided by then is refused, `undecided`; with `on_timeout` as `"pass"` it goes to `forward_to`',
        native=True,
    )
    preread_timeout: float | None = setting(
        default=5.0,
        kind=Seconds(none=True),
        flag="--preread-timeout",
        others="prereadwait prereadtime",
        help="how long a client's first bytes are waited for",
        meaning="how long `on_preread` may take to decide, with the wait for the client's bytes; then as with "
        "`preread_limit`. A client that waits for the server to speak first sends nothing until then; with "
        "`Tls(auto=True)` it is connected then",
        native=True,
    )
    inspect_limit: int | None = setting(
        default=None,
        kind=Size(1, 2**31 - 1, none="no limit"),
        others="inspectbytes inspectsize showlimit",
        meaning="how many bytes of each direction `on_recv` is shown. The chunk or message in which that is reached is "
        "shown whole; from then on the direction is relayed natively, as after `passthrough()`",
        native=True,
    )
