"""Peers that begin TLS behind plaintext: servers of a dialogue, and a client that may be in a hurry."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from .peers import Address, Served, read_exactly


@dataclass(frozen=True)
class Dialogue:
    """What is said until TLS begins."""

    greeting: bytes
    request: bytes
    agreed: bytes


_LDAP = b"\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
_XMPP = b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

DIALOGUES = {
    "smtp": Dialogue(b"220 hi\r\n", b"STARTTLS\r\n", b"220 go ahead\r\n"),
    "imap": Dialogue(b"* OK hi\r\n", b"a1 STARTTLS\r\n", b"a1 OK begin\r\n"),
    "pop3": Dialogue(b"+OK hi\r\n", b"STLS\r\n", b"+OK begin\r\n"),
    "ftp": Dialogue(b"220 hi\r\n", b"AUTH TLS\r\n", b"234 begin\r\n"),
    "ldap": Dialogue(b"", b"\x30\x1d\x02\x01\x01" + _LDAP, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\4\0\4\0"),
    "xmpp": Dialogue(b"<stream>", b"<starttls " + _XMPP, b"<proceed " + _XMPP),
    "postgres": Dialogue(b"", b"\0\0\0\x08\x04\xd2\x16\x2f", b"S"),
    "mysql": Dialogue(b"\x0a\0\0\0\x0a8.0.36\0aa", b"\x20\0\0\1\x85\xae\xff\x19" + bytes(28), b""),
}


@contextlib.contextmanager
def upgrading(dialogue: Dialogue, context: ssl.SSLContext, *, behind: bytes = b"") -> Generator[Address]:
    """A server that says its part, and sends back what it gets under TLS. `behind` comes with its answer."""

    def serve_one(sock: socket.socket) -> None:
        sock.sendall(dialogue.greeting)
        assert read_exactly(sock, len(dialogue.request)) == dialogue.request
        sock.sendall(dialogue.agreed + behind)
        with context.wrap_socket(sock, server_side=True) as secure:
            while data := secure.recv(65536):
                secure.sendall(data)
            secure.unwrap()

    with Served(serve_one) as server:
        yield server.address


@contextlib.contextmanager
def lines(
    answer: Callable[[bytes, bool], bytes | None], greeting: bytes, context: ssl.SSLContext
) -> Generator[Address]:
    """A server of lines: `answer(line, is_secure)` has what is sent; None begins TLS behind a line that agrees."""

    def talk(sock: socket.socket, secure: bool) -> None:
        line = b""
        while byte := sock.recv(1):
            line += byte
            if byte != b"\n":
                continue
            said = answer(line, secure)
            if said is None:
                tag = line.split()[0] if len(line.split()) > 1 else b"220"
                sock.sendall(tag + b" OK go ahead\r\n")
                with context.wrap_socket(sock, server_side=True) as client:
                    return talk(client, True)
            sock.sendall(said)
            line = b""
        return None

    def serve_one(sock: socket.socket) -> None:
        sock.sendall(greeting)
        talk(sock, False)

    with Served(serve_one) as server:
        yield server.address


class HastyClient:
    """The TLS of a client whose hello can be sent at any time, in whatever segment."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str = "localhost") -> None:
        self._sock, self._incoming, self._outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.hello = self._outgoing.read()
        """The beginning of its session, which the caller sends."""

    def _until_done(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._outgoing.read())
                if not (data := self._sock.recv(65536)):
                    self._incoming.write_eof()
                self._incoming.write(data)
            else:
                self._sock.sendall(self._outgoing.read())
                return done

    def shake(self) -> None:
        self._until_done(self.tls.do_handshake)

    def echo(self, data: bytes) -> bytes:
        """Send data under TLS, and read as much."""
        self._until_done(lambda: self.tls.write(data))
        got = b""
        while len(got) < len(data) and (more := self._until_done(lambda: self.tls.read(65536))):
            got += more
        return got

    def end(self) -> None:
        """Give notice of the end, and wait for the peer's."""
        self._until_done(self.tls.unwrap)
        self._sock.shutdown(socket.SHUT_WR)
        assert self._sock.recv(1) == b""
