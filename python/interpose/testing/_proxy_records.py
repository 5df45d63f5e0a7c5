"""The records of a proxy, for replays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._names import names_checked, table
from ._proxy_hooks import ProxyHooks
from ._undo import Undo

if TYPE_CHECKING:
    from .._recording import Record
    from ..framing import Framing
    from ._transcript import Transcript

_ARGUMENTS = table({"path": "file filename name to", "framing": "protocol messages"})


class ProxyRecords(ProxyHooks):
    """The base of a proxy: its connections, recorded into files."""

    transcript: Transcript
    _records: tuple[Record, ...] = ()

    @names_checked(_ARGUMENTS, first=1)
    def record(self, path: str | os.PathLike[str], *, framing: Framing | None = None) -> Undo:
        """Record the connections that are accepted from now on into a file, until the proxy is left or reset().

        `with proxy.record(path):` ends the record itself. Connections that are open at its end have none in it. The
        file is made anew, for you alone; `interpose.replay` plays it without the server. With a `framing` it has whole
        messages. Raises what filters.Record() raises.

        >>> import socket, tempfile
        >>> from interpose import replay
        >>> from interpose.testing import Proxy
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Proxy("127.0.0.1:7070") as proxy, proxy.record(f"{folder}/session.jsonl"):
        ...         with socket.create_connection(proxy.address) as client:
        ...             client.sendall(b"hello")
        ...             answer = client.recv(5)
        ...     replay.Recording.load(f"{folder}/session.jsonl").conversations[0].turns
        [('to_upstream', b'hello'), ('to_client', b'hello')]
        """
        from .._recording import Record

        record = Record(path, framing=framing)
        # The first of all: it has what clients send, and what they get at last.
        self.server.filters = [record, *self.server.filters]
        self._records = (*self._records, record)
        self.transcript.note(f"recorded into {os.fspath(path)}")
        return Undo(lambda: self._end(record))

    def end_records(self) -> None:
        """End all records: what comes later is not in them. Leaving the proxy does so first."""
        for record in self._records:
            self._end(record)

    def _end(self, record: Record) -> None:
        if record in self._records:
            record.close()
            self._records = tuple(one for one in self._records if one is not record)
            self.server.filters = [one for one in self.server.filters if one is not record]
