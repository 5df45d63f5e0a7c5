"""What is wrong with files, names and peers of TLS: one line each with what to try, and the listener goes on."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    ByName,
    ConfigError,
    Forward,
    Intercept,
    InterposeError,
    Side,
    Tls,
    TlsError,
    TlsFileError,
    TlsUpstream,
    framing,
)
from support.certificates import Certificate, openssl, self_signed, serving, trusting
from support.deadline import poll
from support.peers import Address, Echo, connect, ending, fate
from support.peers import echo as said
from support.processes import may_change_user
from support.scripts import passes
from support.tls_peers import Ends, answer, over_tls, tls_upstream


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


def hello(name: str, *alpn: str) -> bytearray:
    """Return the first bytes of a client that asks for a name and protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    pending = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        pending.do_handshake()
    return bytearray(outgoing.read())


def asking_for(length: int) -> bytes:
    """Return a hello that asks for a name of that many letters, which no library would send."""
    short = "short.example"
    made = hello(short)
    at = made.index(short.encode())
    made[at : at + len(short)] = b"a" * length
    # Record, message (its upper byte stays 0), name, list of names, extension.
    places = [3, 7, at - 2, at - 5, at - 7]
    session = 43
    suites = session + 1 + made[session]
    compressions = suites + 2 + int.from_bytes(made[suites : suites + 2], "big")
    places.append(compressions + 1 + made[compressions])
    for place in places:
        longer = int.from_bytes(made[place : place + 2], "big") + length - len(short)
        made[place : place + 2] = longer.to_bytes(2, "big")
    return bytes(made)


def refused(kind: type[InterposeError], wrong: Callable[[], Any], line: str) -> None:
    with pytest.raises(InterposeError) as caught:
        wrong()
    text = str(caught.value)
    assert type(caught.value) is kind, text
    assert line in text, text
    assert "\n" not in text


def test_files_of_another_kind_are_named(own: Certificate, tmp_path: Path) -> None:
    def made(name: str, kind: str, *arguments: str | Path) -> Path:
        openssl(kind, "-out", tmp_path / name, *arguments)
        return tmp_path / name

    old = made("old.key", "pkey", "-in", own.key, "-aes256", "-passout", "pass:secret", "-traditional")
    short = made("short.key", "genrsa", "1024")
    shown = made("short.crt", "req", "-x509", "-new", "-key", short, "-subj", "/CN=localhost")
    der = made("own.der", "x509", "-in", own.cert, "-outform", "der")
    refused(TlsError, lambda: Tls(own.cert, old), f"openssl pkey -in {old} -out plain.pem")
    refused(TlsError, lambda: Tls(shown, short), "give a key of RSA (2048 bits or more), ECDSA or Ed25519")
    refused(TlsError, lambda: Tls(der, own.key), f"it is DER; make PEM of it: openssl x509 -inform der -in {der} ")
    refused(TlsError, lambda: Tls(own.key, own.cert), f"cert {own.key}: it has a key and no certificate; give a PEM")
    refused(TlsError, lambda: TlsUpstream(own.key), f"ca {own.key}: it has a key and no certificate; give a PEM")
    refused(TlsFileError, lambda: Tls(own.cert, tmp_path), f"key {tmp_path}: is a directory; give a file in it")
    refused(TlsFileError, lambda: TlsUpstream(tmp_path), f"ca {tmp_path}: is a directory; give a file in it")
    refused(TlsFileError, lambda: Tls("a" * 300, own.key), ": file name too long; give a file that can be read")
    refused(TlsError, lambda: Tls("/dev/zero", own.key), "it is longer than 4 MiB; give a file of certificates")


def test_names_that_no_hello_can_carry_are_refused(own: Certificate) -> None:
    def upstream(name: str) -> Callable[[], Any]:
        return lambda: TlsUpstream(own.cert, name)

    line = "…: it is no name that a certificate can be for; give a host name or an IP address"
    for name in ("a" * 256, ".".join(["a" * 60] * 5), "a" * 64 + ".example"):
        refused(ConfigError, upstream(name), line)
    refused(ConfigError, lambda: Forward("a" * 64 + ".example", 1, tls=TlsUpstream(own.cert)), line)
    refused(ConfigError, upstream(""), "server_name: it is empty; give a host name or an IP address, or leave it out")
    for alpn in ([""], ["a" * 256]):
        refused(ConfigError, lambda alpn=alpn: Tls(own.cert, own.key, alpn=alpn), "empty or longer than 255 bytes")  # type: ignore[misc]
    many = [f"{number:0>250}" for number in range(300)]
    refused(ConfigError, lambda: TlsUpstream(own.cert, alpn=many), "alpn: its names have more than 8 KiB together")
    TlsUpstream(own.cert, alpn=many[:32])


UNREADABLE = """
import os
import interpose
from interpose import Intercept, Tls, TlsFileError

# Loaded before the files of the package cannot be read any more.
Intercept(folder={folder!r} + "/own")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for wrong in (
    lambda: Tls({cert!r}, {key!r}),
    lambda: Intercept(folder={folder!r}),
    lambda: Intercept(folder={folder!r} + "/own"),
    lambda: Intercept(folder={folder!r} + "/new"),
):
    try:
        wrong()
    except TlsFileError as error:
        print(error)
"""


@pytest.mark.skipif(not may_change_user(), reason="needs root, which may become another user")
def test_what_this_user_may_not_read_or_write(own: Certificate, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folder, cert, key = str(tmp_path), str(own.cert), str(own.key)
    lines = passes(tmp_path, UNREADABLE.format(folder=folder, cert=cert, key=key)).splitlines()
    read = "permission denied; let this user read it"
    assert lines[0] == f"cert {cert}: {read}"
    assert lines[1:4] == [
        f"ca {place}/ca.pem: {read}, or set XDG_DATA_HOME to a folder of this user"
        for place in (folder, f"{folder}/own", f"{folder}/new")
    ]


def test_clients_that_ask_for_what_cannot_be_are_told_of_and_the_next_is_served(
    own: Certificate, serve: Serve, echo: Echo, tmp_path: Path
) -> None:
    looking = Intercept(TlsUpstream(own.cert), folder=tmp_path)
    ends = Ends()

    def check(address: Address, sent: bytes, line: str, context: ssl.SSLContext) -> None:
        with connect(address) as client:
            client.sendall(sent)
            assert ending(client)[0] == "eof"
        ended = ends.next()
        assert (ended.reason, ended.error) == ("client_tls_failed", f"the client {line}")
        with over_tls(address, context) as client:
            assert said(client, b"hello") == b"hello"
            client.unwrap()
        assert ends.next().reason == "finished"

    spoken = serve(echo.address, tls=Tls(own.cert, own.key, alpn=["h2"]), on_close=ends.on_close).address
    no_name = "asks for a server name that is none; let it ask for a host name, or for none"
    check(spoken, asking_for(256), no_name, trusting(own))
    check(
        spoken,
        bytes(hello("localhost", "h3")),
        "has no protocol in common with alpn; give one that it offers",
        trusting(own),
    )
    long = "asks for a server name that is none: it is longer than 253 bytes; let it ask for a host name, or for none"
    with tls_upstream(serving(own), answer) as upstream:
        looked = serve(upstream, tls=looking, on_close=ends.on_close).address
        check(looked, asking_for(5000), long, ssl.create_default_context(cadata=looking.certificate))
        by_name = serve(upstream, tls=ByName({"localhost": upstream}), on_close=ends.on_close).address
        check(by_name, asking_for(256), long, trusting(own))


def test_tls_at_a_port_without_it(own: Certificate, serve: Serve, echo: Echo) -> None:
    """Without a framing it passes; with one that expects something else it says what it is."""
    ends = Ends()

    def ignore(_side: Side, _data: bytes) -> None:
        pass

    server = serve(echo.address, framing=framing.http1(), on_client_recv=ignore, on_close=ends.on_close)
    with connect(server.address) as client:
        client.sendall(hello("localhost"))
        assert ending(client)[0] == "reset"
    ended = ends.next()
    hint = "it begins as TLS does: speak TLS there (tls), or leave framing out"
    assert ended.reason == "protocol_error"
    assert ended.error == f"http1 to_upstream, byte 0: expected the method of a request; {hint}"
    server = serve(Forward(*echo.address, tls=TlsUpstream(own.cert)), on_close=ends.on_close)
    assert fate(lambda: connect(server.address)) == ("reset", b"")
    ended = ends.next()
    assert ended.reason == "upstream_tls_failed"
    assert str(ended.error).endswith("speaks no TLS; forward to its TLS port, or leave TLS out for it")


def test_an_upstream_that_wants_a_certificate_says_so_after_the_handshake(
    own: Certificate, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """In TLS 1.3 the handshake is over for us by then."""
    context = serving(own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(own.cert)
    ends = Ends()
    with tls_upstream(context, answer) as upstream:
        server = serve(Forward(*upstream, tls=TlsUpstream(own.cert)), on_close=ends.on_close)
        assert fate(lambda: connect(server.address)) == ("reset", b"")
        ended = ends.next()
        assert ended.reason == "upstream_tls_failed"
        line = "the upstream refused the TLS handshake with the alert certificate_required; "
        line += "it demands a certificate: give cert and key"
        assert ended.error == line
        # Logs have a thread of their own.
        poll(lambda: line in caplog.text, 5, "it is logged")
        mine = serve(Forward(*upstream, tls=TlsUpstream(own.cert, cert=own.cert, key=own.key)))
        with connect(mine.address) as client:
            assert said(client, b"hello") == b"hello"
