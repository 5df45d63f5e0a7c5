"""The table of settings, with the text of every one: one row each, in the group that users write it in.

From a row come the group's field with its default, its check and its place in the docstring; the command's option, its
line of `--help`, its environment variable; the key of a settings file; the row of docs/reference; and what the native
side is given. A new setting is a row here, and its use.

The rows are plain data, because `interpose --help` reads them and must not wait for an import. _groups makes the frozen
dataclasses of them that users have.
"""

from __future__ import annotations

from ._framing_name import FramingName
from ._kinds import Choice, Count, FileName, LocalAddress, Seconds, Switch, Target, Targets, Texts
from ._replacements import Replacements
from ._rows import GROUPS, Group, Setting, group, rows_of, setting
from ._sizes import Size

# Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = [
    "GROUPS",
    "Callbacks",
    "Capturing",
    "CommandSettings",
    "ForwardSettings",
    "Group",
    "Limits",
    "Listen",
    "Looking",
    "Relay",
    "ScriptSettings",
    "ServerSettings",
    "Setting",
    "Timeouts",
    "rows_of",
]


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
        others="prereadwait prereadtime",
        meaning="how long `on_preread` may take to decide, with the wait for the client's bytes; then as with "
        "`preread_limit`. A client that waits for the server to speak first sends nothing until then",
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


@group("scripts", "scripts")
class ScriptSettings:
    """The scripts of a listener."""

    script: tuple[str, ...] = setting(
        default=(),
        kind=Texts("FILE", "spy.py"),
        flag="--script",
        help="a file with hooks, or a ready one; may be repeated",
        meaning="files with hooks, or names of ready scripts (`interpose scripts`), in the order in which they see a "
        "chunk. Each is loaded again when it changes",
    )
    code: tuple[str, ...] = setting(
        default=(),
        kind=Texts("CODE", "'def on_recv(side, data): print(data)'", separator=""),
        flag="--code",
        short="-c",
        help="hooks as a text; behind all scripts; may be repeated",
        meaning="hooks as texts of Python, called behind those of all scripts",
    )
    set: tuple[str, ...] = setting(
        default=(),
        kind=Texts("NAME=VALUE", "delay=0.5"),
        flag="--set",
        help="an option of the scripts; may be repeated",
        meaning="options of the scripts: `name=value` for all that have it, `script.name=value` for one",
    )


@group("looking", "looking at what passes")
class Looking:
    """The view of what passes. None of it holds up a connection."""

    hexdump: bool = setting(
        default=False,
        kind=Switch(),
        flag="--hexdump",
        others="hex dump xxd",
        help="show what passes as hexadecimal digits and as text",
        meaning="show what passes as hexadecimal digits and as text",
    )
    text: bool = setting(
        default=False,
        kind=Switch(),
        flag="--text",
        others="ascii",
        help="show what passes as lines of text",
        meaning="show what passes as lines of text, with escapes for all that is no plain text",
    )
    json: bool = setting(
        default=False,
        kind=Switch(),
        flag="--json",
        others="jsonlines jsonl",
        help="write what happens as JSON, an object a line",
        meaning="write what happens as JSON, an object a line",
    )
    output: str | None = setting(
        default=None,
        kind=FileName("dump.txt"),
        flag="--output",
        others="out logfile",
        help="where that goes, instead of standard output",
        meaning="the file that gets what is shown, instead of standard output; it is appended to",
    )
    width: int = setting(
        default=16,
        kind=Count(1, 256),
        flag="--width",
        others="columns cols",
        meaning="bytes of a line of `hexdump`",
        help="bytes of a line of --hexdump",
    )
    truncate: int | None = setting(
        default=None,
        kind=Count(1, none="all"),
        flag="--truncate",
        others="maxbytes",
        help="bytes shown of one read or message",
        meaning="the most bytes that are shown of one read or message",
    )
    color: Literal["auto", "always", "never"] = setting(
        default="auto",
        kind=Choice("auto", "always", "never"),
        flag="--color",
        others="colour colors colours",
        help="colours: auto is on a terminal",
        meaning='colours: `"auto"` is on a terminal, unless NO_COLOR is set (no-color.org)',
    )
    framing: str | None = setting(
        default=None,
        kind=FramingName(),
        flag="--framing",
        others="protocol frames messages",
        help="show whole messages: lines, resp, length:4, ...",
        meaning="show whole messages of this protocol instead of chunks: the name of a function of "
        "`interpose.framing`, with its argument behind a colon where it has one",
    )
    direction: Literal["both", "to_upstream", "to_client"] = setting(
        default="both",
        kind=Choice("both", "to_upstream", "to_client"),
        flag="--direction",
        others="side way only",
        help="what is shown and replaced: both, to_upstream or to_client",
        meaning="the direction that is shown, and in which something is replaced",
    )
    grep: tuple[str, ...] = setting(
        default=(),
        kind=Texts("PATTERN", "'SELECT .* FROM users'", separator=""),
        flag="--grep",
        others="match filter search",
        help="show only connections that match",
        meaning="show only connections in which one of these regular expressions matches",
    )
    replace: tuple[str, ...] = setting(
        default=(),
        kind=Replacements("OLD=NEW", "'old=new'"),
        flag="--replace",
        others="sub substitute rewrite",
        help="replace bytes; \\n, \\xHH and \\= are escapes",
        meaning="bytes to replace, and what stands in their place: `OLD=NEW`, with `\\n`, `\\r`, `\\t`, `\\0`, "
        "`\\xHH`, `\\=` and `\\\\`",
    )
    replace_regex: tuple[str, ...] = setting(
        default=(),
        kind=Replacements("PATTERN=NEW", r"'id\=\d+=id\=0'", is_regex=True),
        flag="--replace-regex",
        others="sed regex regexp",
        help=r"replace what a regular expression matches; \1 is a group",
        meaning=r"regular expressions, and what stands in place of what they match: `PATTERN=NEW`, with `\1` for a "
        r"group and `\=` for a `=`",
    )


@group("capture", "capturing for Wireshark", "filters=[filters.Capture(path, {}=...)]")
class Capturing:
    """The packets of connections, written into a file for Wireshark."""

    file: str | None = setting(
        default=None,
        kind=FileName("capture.pcapng"),
        flag="--capture",
        help="write packets for Wireshark; - is standard output",
        meaning='the file that gets what passes as packets (pcapng), made anew; `"-"` is standard output',
    )
    snaplen: int = setting(
        default=262144,
        kind=Count(1, 262144),
        flag="--capture-snaplen",
        others="snap snaplength",
        help="bytes of each packet that are kept",
        meaning="the most bytes of a packet that are kept; the first 64, which have the headers, always are",
    )
    rotate_size: int | None = setting(
        default=None,
        kind=Size(none="no limit"),
        flag="--capture-rotate-size",
        others="size maxsize filesize",
        help="bytes after which another file begins",
        meaning="the bytes after which another file begins. The files then have a number and a time in their names",
    )
    rotate_seconds: float | None = setting(
        default=None,
        kind=Seconds(none=True, meaning="for one file"),
        flag="--capture-rotate-after",
        others="seconds interval",
        help="time after which another file begins",
        meaning="the time after which another file begins, with the next packet",
    )
    rotate_keep: int | None = setting(
        default=None,
        kind=Count(1, none="all"),
        flag="--capture-keep",
        others="keep files",
        help="how many of those files are kept",
        meaning="how many of those files are kept: the oldest are removed",
    )
    sides: Literal["client", "both"] = setting(
        default="client",
        kind=Choice("client", "both"),
        flag="--capture-sides",
        others="side interfaces",
        help="both: also between interpose and TARGET",
        meaning='`"client"` captures between clients and interpose, `"both"` also between interpose and the upstream, '
        "where something changes what passes",
    )


@group("command", "the command")
class CommandSettings:
    """The settings of the command alone."""

    config: str | None = setting(
        default=None,
        kind=FileName("proxy.toml"),
        flag="--config",
        help="a file of listeners and settings, read again at SIGHUP",
        meaning="a file of listeners and settings, which takes the place of LISTEN and TARGET and is read again at "
        "SIGHUP",
        in_file=False,
    )
    on_reload: Literal["keep", "drain"] = setting(
        default="keep",
        kind=Choice("keep", "drain"),
        flag="--on-reload",
        others="reload",
        help="what to do with connections whose listener changes",
        meaning='what a reload means for the live connections of a listener that it changes or takes away: `"keep"` '
        'leaves them as they are, `"drain"` lets them finish for `drain` seconds',
    )

    drain: float = setting(
        default=30.0,
        kind=Seconds(zero=True),
        flag="--drain",
        help="how long connections may finish after Ctrl-C",
        meaning="after Ctrl-C or SIGTERM: how long connections may finish before they are reset",
    )
    log_format: Literal["plain", "text", "json"] = setting(
        default="plain",
        kind=Choice("plain", "text", "json"),
        flag="--log-format",
        help="the log's lines; text has time and level",
        meaning="the form of the command's lines: `plain`, `text` with time and level, or `json`, one object a line. "
        "With the last two all lines are on standard error",
    )
    verbose: bool = setting(
        default=False,
        kind=Switch(),
        flag="--verbose",
        short="-v",
        meaning="show each connection's opening and end",
    )
    quiet: bool = setting(
        default=False,
        kind=Switch(),
        flag="--quiet",
        short="-q",
        meaning="show errors only",
    )
