"""The filter that records connections for replays."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import _native
from ._checks import seconds
from ._exceptions import ConfigError, printable, wrong_type
from ._filter import Filter
from ._names import names_checked, table
from ._outputs import Output

if TYPE_CHECKING:
    from .framing import Framing

# The version of the format: what an older reader would take wrong has another.
VERSION = 1
_ARGUMENTS = table({"path": "file filename name to output target", "framing": "protocol messages"})
_REMEDIES = {
    IsADirectoryError: "give a file, not a folder",
    FileNotFoundError: "make its folder first",
    PermissionError: "give a file in a folder that you may write to",
}


class Record(Filter):
    r"""Records connections into a file, which `interpose.replay` and `interpose replay` play again without the server.

    The file is JSON Lines: a header, and then the events that JsonLines writes, with `"place": "out"` for bytes as they
    were sent on where callbacks or filters may change them; faults strike behind that. It is made anew, for you alone
    (0600). What comes faster than it can be written is left out, and the file says so: such a record is not replayed.

    * `path`: the file. `framing`: a Framing, such as `framing.resp()`: whole messages are recorded instead of chunks.

    Raises ArgumentTypeError, and ConfigError where the file cannot be written.

    >>> import tempfile
    >>> from interpose import TheServer, filters
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = filters.Record(f"{folder}/session.jsonl")
    ...     with TheServer("", 0, "127.0.0.1:7070", filters=[record]) as server:
    ...         record.missed_events
    ...     record.close()
    0
    True
    """

    __slots__ = ("_missed",)

    @names_checked(_ARGUMENTS, first=1)
    def __init__(self, path: str | os.PathLike[str], *, framing: Framing | None = None) -> None:
        if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong_type("path", path, "a path", 'give one such as "session.jsonl"')
        name = os.fspath(path)
        if not name:
            raise ConfigError('path: it is empty; give one such as "session.jsonl"')
        from ._framing_pair import framing_of, native_framing

        frames = native_framing(framing_of(framing))
        descriptor = _begun(name, framing)
        try:
            native = _native.Filter.record(Output(f"record {name}", descriptor, None).named, frames)
        finally:
            # The native side has its own.
            os.close(descriptor)
        self._missed: tuple[int, int] | None = None
        self._made(native, None, path=name, framing=framing)

    @property
    def missed_events(self) -> int:
        """The number of events that were left out because they came faster than they could be written."""
        return (self._missed or self._native.missed)[0]

    @property
    def missed_bytes(self) -> int:
        """The bytes of those events."""
        return (self._missed or self._native.missed)[1]

    def close(self, timeout: float = 1.0) -> bool:
        """End the record: what comes later is not in it. Wait until it is written, and return whether it is.

        Connections that are open have no end in it. `timeout` is in seconds; a second call does nothing.
        """
        limit = seconds("timeout", timeout, zero=True)
        if self._missed is None:
            self._missed = self._native.missed
        return self._native.finish(limit)


def _begun(name: str, framing: Framing | None) -> int:
    """Return the descriptor of a file that has its header, or raise ConfigError."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    header: dict[str, object] = {"interpose": "record", "version": VERSION, "time": now}
    if framing is not None:
        header["framing"] = framing.name
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        # A named pipe that nobody reads is refused at once.
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(name, flags, 0o600)
        try:
            with suppress(AttributeError, PermissionError):
                os.fchmod(descriptor, 0o600)
            os.write(descriptor, f"{json.dumps(header)}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, ValueError) as error:
        remedy = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), "give another file")
        what = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(printable(f"record {name}: {what}; {remedy}")) from error
    return descriptor
