"""The table of settings, with the text of every one: one row each, in the group that users write it in.

The groups of a Forward and of a server are in `_server_settings_and_help`, those of TLS in `_tls_settings_and_help`,
those of the command alone here.

From a row come the group's field with its default, its check and its place in the docstring; the command's option, its
line of `--help`, its environment variable; the key of a settings file; the row of docs/reference; and what the native
side is given. A new setting is a row here, and its use.

The rows are plain data, because `interpose --help` reads them and must not wait for an import. _groups makes the frozen
dataclasses of them that users have.
"""

from __future__ import annotations

from ._framing_name import FramingName
from ._kinds import Choice, Count, FileName, ListenAddress, Seconds, Switch, Texts
from ._replacements import Replacements
from ._rows import GROUPS, Group, Setting, group, rows_of, setting
from ._server_settings_and_help import (
    Callbacks,
    ForwardSettings,
    Limits,
    Listen,
    Relay,
    ServerSettings,
    Timeouts,
)
from ._sizes import Size
from ._sni_settings_and_help import Naming
from ._tls_settings_and_help import Originating, Terminating

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
    "Misbehaving",
    "Naming",
    "Originating",
    "Relay",
    "ScriptSettings",
    "ServerSettings",
    "Setting",
    "Terminating",
    "Timeouts",
    "rows_of",
]


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
        help="append that to a file, not to standard output",
        meaning='the file that gets what is shown, instead of standard output, which is `"-"`; it is appended to',
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
        kind=Size(1, 2**31 - 1, none="all"),
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
    framing_errors: Literal["chunk", "close"] = setting(
        default="chunk",
        kind=Choice("chunk", "close"),
        flag="--framing-errors",
        others="onframingerror framingerror protocolerrors onprotocolerror",
        help="bytes that break it: chunk goes on, close resets",
        meaning="where something is replaced in whole messages: what bytes that break the protocol, and a message that "
        'is too long, mean for their connection. `"chunk"` replaces in chunks from there on, with a warning; `"close"` '
        "resets the connection. What only shows whole messages resets none",
    )
    direction: Literal["both", "to_upstream", "to_client"] = setting(
        default="both",
        kind=Choice("both", "to_upstream", "to_client"),
        flag="--direction",
        others="side way only",
        help="the direction that is shown",
        meaning="the direction that is shown; `replace_direction` is the one in which something is replaced",
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
        help=r"replace what an expression matches; \1 is a group",
        meaning=r"regular expressions, and what stands in place of what they match: `PATTERN=NEW`, with `\1` for a "
        r"group and `\=` for a `=`",
    )
    replace_direction: Literal["both", "to_upstream", "to_client"] = setting(
        default="both",
        kind=Choice("both", "to_upstream", "to_client"),
        flag="--replace-direction",
        help="where something is replaced",
        meaning="the direction in which something is replaced, whatever is shown",
    )


@group("capture", "capturing for Wireshark", "filters=[filters.Capture(path, {}=...)]")
class Capturing:
    """The packets of connections, written into a file for Wireshark."""

    file: str | None = setting(
        default=None,
        kind=FileName("capture.pcapng"),
        flag="--capture",
        help="packets for Wireshark, in a new file; - is stdout",
        meaning='the file that gets what passes as packets (pcapng), made anew; `"-"` is standard output',
    )
    snaplen: int = setting(
        default=262144,
        kind=Size(1, 262144),
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
    sides: Literal["auto", "client", "both"] = setting(
        default="auto",
        kind=Choice("auto", "client", "both"),
        flag="--capture-sides",
        others="side interfaces",
        help="both: also between interpose and TARGET",
        meaning='`"client"` captures between clients and interpose, `"both"` also between interpose and the upstream, '
        '`"auto"` does so where callbacks, filters or faults may change what passes',
    )
    keys: str | None = setting(
        default=None,
        kind=FileName("keys.log"),
        flag="--capture-keys",
        others="secrets keylog keylogfile sslkeylogfile",
        help="add the secrets of this key log, to decrypt TLS",
        meaning="a key log, which clients or servers write (`SSLKEYLOGFILE`), or `tls.keylog`: the secrets that come "
        "to it are put into the capture, so that Wireshark decrypts TLS in it. Anyone who has the file then reads all",
    )


@group("faults", "misbehaving on purpose", "TheServer(..., faults=[...], seed=...)")
class Misbehaving:
    """Faults of the server, which harm connections on purpose."""

    fault: tuple[str, ...] = setting(
        default=(),
        kind=Texts("FAULT", "'latency 200ms jitter=50ms'", separator=""),
        flag="--fault",
        others="toxic chaos",
        help="latency 200ms, cut 1KiB how=reset, stall, ...",
        meaning="faults, each a name, its value and conditions such as `direction=to_client`, `after=1KiB`, "
        "`match=GET`, `nth=2`, `times=1` and `probability=0.1`",
    )
    seed: int | None = setting(
        default=None,
        kind=Count(0, 2**63 - 1, none="drawn"),
        flag="--seed",
        others="random",
        help="fixes what faults draw",
        meaning="the number that fixes what faults draw",
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
    toxiproxy_api: str | None = setting(
        default=None,
        kind=ListenAddress("8474"),
        flag="--toxiproxy-api",
        others="toxiproxy api",
        help="serve toxiproxy's HTTP API there",
        meaning="where to serve toxiproxy's HTTP API, beside LISTEN and TARGET or without them",
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
