r"""Filters: native stages that watch or change what passes. No callback, and no Python while bytes flow.

    from interpose import TheServer, filters

    TheServer("", 9090, "127.0.0.1:6379", filters=[filters.Hexdump()]).main_loop()

A filter that looks never holds up a connection. What it sees waits in a queue of at most 8 MiB for a thread that writes
it; what finds no room there is left out, and the output says so. An output that fails (a full disk, a reader that has
gone) ends the looking, and nothing else. An object whose `write` raises loses that text; the log says so once.

Filters act in the order in which they are given: one that looks behind another sees what that has made of the bytes.
They may be shared by servers, and given to a live server or to one side of a live connection.

>>> import io, socket
>>> from interpose import Forward, TheServer, filters
>>> seen = io.StringIO()
>>> with TheServer("", 0, on_accept=lambda conn: Forward.NOWHERE, filters=[filters.Text(seen)]) as server:
...     with socket.create_connection(server.address) as client:
...         client.sendall(b"hello\r\n")
>>> seen.getvalue().splitlines()[1].partition("#1 ")[2]
'> hello\\r\\n'
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, cast

from . import _native
from ._checks import choice, count, seconds
from ._exceptions import ArgumentTypeError, ConfigError, wrong_type
from ._filter import Direction, Filter, directions_of
from ._names import CAPTURE_ARGUMENTS, FILTER_ARGUMENTS, FILTERS, names_checked, nearest
from ._outputs import Output, OutputTo, output_of, wants_color
from ._recording import Record
from ._rewriting import Grep, Replace, ReplaceRegex

if TYPE_CHECKING:
    from ._native import Framing as NativeFraming
    from .framing import Framing

__all__ = ["Capture", "Filter", "Grep", "Hexdump", "JsonLines", "Record", "Replace", "ReplaceRegex", "Text"]


def _style(output: Output, color: bool | None) -> tuple[bool, int]:
    """Return whether lines may have colours, and the seconds that local time is ahead of UTC."""
    return wants_color(output, color), time.localtime().tm_gmtoff


def _native_framing(framing: object) -> NativeFraming | None:
    from ._framing_pair import framing_of, native_framing

    framing_of(framing)
    return native_framing(cast("Framing | None", framing))


def _limit(truncate: int | None) -> int | None:
    return None if truncate is None else count("truncate", truncate, 1)


class Hexdump(Filter):
    r"""Shows what passes as hexadecimal digits and as text, with offsets that go on over the whole stream.

    * `file`: where to: a path, which is created for you alone (0600) and appended to; an open file, a descriptor, or
      any object with `write(text)`. None is standard output.
    * `width`: bytes of a line. `truncate`: the most bytes that are shown of one read or message.
    * `color`: True or False; None is True on a terminal, unless NO_COLOR is set (no-color.org).
    * `direction`: `"both"`, `"to_upstream"` or `"to_client"`.
    * `framing`: a Framing, such as `framing.resp()`: whole messages are shown instead of chunks. The connections do not
      wait for that; bytes that break the protocol are shown in chunks.

    No control character of the wire reaches the output. Raises ArgumentTypeError, ConfigError and OSError.

    >>> import io, socket
    >>> from interpose import TheServer, filters
    >>> shown = io.StringIO()
    >>> with TheServer("", 0, "127.0.0.1:7070", filters=[filters.Hexdump(shown)]) as server:
    ...     filters.Hexdump(shown, width=8)
    filters.Hexdump(width=8)
    """

    __slots__ = ()

    _defaults = {"width": 16, "direction": "both"}  # noqa: RUF012 (never changed)

    @names_checked(FILTER_ARGUMENTS, first=1)
    def __init__(
        self,
        file: OutputTo = None,
        *,
        width: int = 16,
        truncate: int | None = None,
        color: bool | None = None,
        direction: Direction = "both",
        framing: Framing | None = None,
    ) -> None:
        size, most, directions = count("width", width, 1, 256), _limit(truncate), directions_of(direction)
        output = output_of(file)
        native = _native.Filter.hexdump(
            output.named, _style(output, color), (size, most), directions, _native_framing(framing)
        )
        self._made(
            native, output.kept, width=width, truncate=truncate, color=color, direction=direction, framing=framing
        )


class Text(Filter):
    r"""Shows what passes as text, each line on a line of its own, with escapes for all that is no plain text.

    The arguments are those of Hexdump.

    >>> from interpose import filters
    >>> filters.Text(truncate=80)
    filters.Text(truncate=80)
    """

    __slots__ = ()

    _defaults = {"direction": "both"}  # noqa: RUF012 (never changed)

    @names_checked(FILTER_ARGUMENTS, first=1)
    def __init__(
        self,
        file: OutputTo = None,
        *,
        truncate: int | None = None,
        color: bool | None = None,
        direction: Direction = "both",
        framing: Framing | None = None,
    ) -> None:
        most, directions, output = _limit(truncate), directions_of(direction), output_of(file)
        native = _native.Filter.text(output.named, _style(output, color), most, directions, _native_framing(framing))
        self._made(native, output.kept, truncate=truncate, color=color, direction=direction, framing=framing)


class JsonLines(Filter):
    r"""Writes what happens as JSON, one object a line: `open`, `connect`, `data`, `end`, `fault`, `close`, `missed`.

    Bytes are `text` where they are UTF-8, and `base64` elsewhere. The arguments are those of Hexdump.

    >>> from interpose import filters
    >>> filters.JsonLines(direction="to_client")
    filters.JsonLines(direction='to_client')
    """

    __slots__ = ()

    _defaults = {"direction": "both"}  # noqa: RUF012 (never changed)

    @names_checked(FILTER_ARGUMENTS, first=1)
    def __init__(self, file: OutputTo = None, *, direction: Direction = "both", framing: Framing | None = None) -> None:
        directions, output = directions_of(direction), output_of(file)
        native = _native.Filter.json_lines(output.named, directions, _native_framing(framing))
        self._made(native, output.kept, direction=direction, framing=framing)


# A file with less than a packet would be followed by another at once.
LEAST_FILE = 1024
LEAST_WITH_KEYS = 1024 * 1024

_CLASSES: tuple[type[Filter], ...] = (Grep, Hexdump, JsonLines, Record, Replace, ReplaceRegex, Text)


class Capture(Filter):
    r"""Writes what passes into a file of packets (pcapng), which Wireshark, tshark and `interpose inspect` read.

    Addresses, times, bytes and ends are those of the connections; the packets of TCP around them are made up so that
    dissectors follow them. A comment has the close reason. What was left out is a gap, with a comment.

    * `path`: the file, made anew, for you alone (0600). `"-"` is standard output, such as for `wireshark -k -i -`.
    * `snaplen`: the most bytes of a packet that are kept; the first 64, which have the headers, always are.
    * `rotate_size`, `rotate_seconds`: the bytes, and the time, after which another file begins. Then the files are
      named as Wireshark names its sets, `name_00001_20260131235959.pcapng` (UTC); each is whole by itself.
    * `rotate_keep`: the number of files that are kept; the oldest are removed. None keeps all.
    * `sides`: `"client"` captures between the client and interpose, `"both"` between interpose and the upstream
      as well, as a second interface. `"auto"` does so for connections on which callbacks, filters or faults may
      change what passes: where the server has some when the client is accepted.
    * `keys`: a key log, which a client or a server writes (`SSLKEYLOGFILE`), or interpose itself (`keylog`). Secrets
      that come to it meanwhile are put into the file, so Wireshark decrypts TLS that passes undecrypted; anyone who
      has the file then reads all that was said.

    Raises ArgumentTypeError, and ConfigError where the file cannot be written.

    >>> import tempfile
    >>> from interpose import TheServer, filters
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     capture = filters.Capture(f"{folder}/a.pcapng", snaplen=4096)
    ...     with TheServer("", 0, "127.0.0.1:7070", filters=[capture]) as server:
    ...         capture.missed_bytes
    0
    """

    __slots__ = ()

    _defaults = {"snaplen": 262144, "sides": "auto"}  # noqa: RUF012 (never changed)
    _has_end = True

    @names_checked(CAPTURE_ARGUMENTS, first=1)
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        snaplen: int = 262144,
        rotate_size: int | None = None,
        rotate_seconds: float | None = None,
        rotate_keep: int | None = None,
        sides: Literal["auto", "client", "both"] = "auto",
        keys: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong_type("path", path, "a path", 'give one such as "a.pcapng", or "-" for standard output')
        name = os.fspath(path)
        if not name:
            raise ConfigError('path: it is empty; give one such as "a.pcapng", or "-" for standard output')
        size = None if rotate_size is None else count("rotate_size", rotate_size, LEAST_FILE)
        after = None if rotate_seconds is None else seconds("rotate_seconds", rotate_seconds)
        keep = None if rotate_keep is None else count("rotate_keep", rotate_keep, 1)
        if keep is not None and size is None and after is None:
            raise ConfigError("rotate_keep: no file is begun anew; give rotate_size or rotate_seconds too")
        which = choice("sides", sides, ("auto", "client", "both"))
        kept = count("snaplen", snaplen, 1, 262144)
        secrets = None if keys is None else _keys_path(keys)
        if secrets is not None and size is not None and size < LEAST_WITH_KEYS:
            raise ConfigError("rotate_size: with keys, each file has 256 KiB of room for them; give 1MiB or more")
        native = _native.capture(None if name == "-" else name, kept, (size, after, keep), which, secrets)
        self._made(
            native,
            None,
            path=name,
            snaplen=snaplen,
            rotate_size=rotate_size,
            rotate_seconds=rotate_seconds,
            rotate_keep=rotate_keep,
            sides=sides,
            keys=keys,
        )


def _keys_path(keys: object) -> str:
    if not isinstance(keys, str | os.PathLike):
        raise wrong_type("keys", keys, "a path", 'give one such as "keys.log", which SSLKEYLOGFILE names')
    path = os.fspath(cast("str | os.PathLike[str]", keys))
    if not isinstance(cast("object", path), str) or not path or "\0" in path:
        raise ConfigError('keys: it is no path of a file; give one such as "keys.log", which SSLKEYLOGFILE names')
    return path


def filters_of(value: object) -> list[Filter]:
    """Return a server's or a side's filters, or raise ArgumentTypeError."""
    advice = "give a list such as [filters.Hexdump()]"
    if isinstance(value, Filter):
        raise ArgumentTypeError(f"filters: it is one filter, not a list of them; write [{value!r}]")
    if isinstance(value, str) or not isinstance(value, Iterable):
        near = nearest(value, [kind.__name__ for kind in _CLASSES], FILTERS) if isinstance(value, str) else None
        raise wrong_type("filters", value, "a list of filters", f"write [filters.{near}()]" if near else advice)
    found: list[Filter] = []
    for one in cast("Iterable[object]", value):
        for kind in _CLASSES:
            if one is kind:
                raise ArgumentTypeError(f"filters: {kind.__name__} is the class; write filters.{kind.__name__}()")
        if not isinstance(one, Filter):
            raise wrong_type("filters", one, "a filter", advice)
        found.append(one)
    return found
