"""A name server of our own: it answers, refuses, or keeps silent, as the test says."""

from __future__ import annotations

import socket
import struct
import threading

from .peers import Address

NXDOMAIN = 3
SERVFAIL = 2


class NameServer:
    """Answers A questions from *addresses* (AAAA: no data), with *code* for unknown names; None means no answer."""

    def __init__(self, sock: socket.socket, code: int | None = NXDOMAIN) -> None:
        self.addresses: dict[str, str] = {}
        self.asked: list[str] = []
        self._sock = sock
        self._code = code
        name = sock.getsockname()
        self.address: Address = (name[0], name[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._sock.settimeout(None)
        while True:
            question, sender = self._sock.recvfrom(1500)
            if not question:
                return
            reply = self._reply(question)
            if reply is not None:
                self._sock.sendto(reply, sender)

    def _reply(self, question: bytes) -> bytes | None:
        labels: list[str] = []
        at = 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        name, at = ".".join(labels), at + 5
        self.asked.append(name)
        wants_v4 = struct.unpack_from("!H", question, at - 4)[0] == 1
        found = self.addresses.get(name)
        if not found and self._code is None:
            return None
        code = 0 if found or self._code is None else self._code
        answers = 1 if found and wants_v4 else 0
        head = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, answers, 0, 0) + question[12:at]
        if not (found and wants_v4):
            return head
        return head + struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(found)

    def __enter__(self) -> NameServer:
        return self

    def __exit__(self, *_: object) -> None:
        # An empty datagram is the end; it is sent from the socket itself, which lives in the right namespace.
        self._sock.sendto(b"", self.address)
        self._thread.join(5.0)
        self._sock.close()
