"""TLS with clients and with upstreams: what is said under it, how it ends, and what is wrong with it in one line."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import socket
import ssl
import stat
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import interpose
import pytest
from conftest import Serve
from interpose import (
    ArgumentTypeError,
    ConfigError,
    Connection,
    Forward,
    InterposeError,
    PeerCertificate,
    Side,
    TheServer,
    Tls,
    TlsError,
    TlsFileError,
    TlsInfo,
    TlsUpstream,
)
from support.certificates import Certificate, openssl, self_signed, serving, signed, trusting
from support.peers import Address, Echo, bound_address, connect, echo, ending, fate, listener, read_exactly
from support.tls_peers import Ends, answer, over_tls, tls_upstream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


def test_a_client_speaks_tls_and_its_upstream_and_callbacks_get_what_is_inside(
    echo_server: Address, serve: Serve, certificate: Certificate
) -> None:
    seen: list[tuple[bytes, TlsInfo | None, TlsInfo | None]] = []

    def on_client_recv(side: Side, data: bytes) -> None:
        seen.append((data, side.tls, side.other.tls))

    server = serve(
        echo_server, tls=Tls(certificate.cert, certificate.key, alpn=["a", "b"]), on_client_recv=on_client_recv
    )
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(certificate)
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["b"])
        with over_tls(server.address, context) as client:
            assert echo(client, b"hello") == b"hello"
            assert client.selected_alpn_protocol() == "b"
        data, info, other = seen.pop()
        assert info is not None
        assert (data, info.server_name, info.alpn, other) == (b"hello", "localhost", "b", None)
        assert info.version == version.name.replace("_", ".")
        assert info.peer_certificate is None


@pytest.fixture
def echo_server(echo: Echo) -> Address:
    return echo.address


def test_an_upstream_is_verified_and_its_side_says_what_was_agreed(serve: Serve, certificate: Certificate) -> None:
    infos: list[TlsInfo | None] = []

    def on_connect(conn: Connection) -> None:
        infos.append(conn.upstream.tls if conn.upstream else None)

    with tls_upstream(serving(certificate), answer) as address:
        forward = Forward(*address, tls=TlsUpstream(ca=certificate.cert, server_name="localhost"))
        server = serve(forward, on_connect=on_connect)
        for _ in range(2):
            with connect(server.address) as client:
                assert echo(client, b"hello") == b"hello"
                client.shutdown(socket.SHUT_WR)
                assert ending(client) == ("eof", b"")
    first, second = infos
    assert first is not None
    assert second is not None
    assert (first.version, first.server_name, first.resumed) == ("TLSv1.3", "localhost", False)
    assert first.peer_certificate is not None
    shown = first.peer_certificate
    assert ssl.PEM_cert_to_DER_cert(shown.pem) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    assert (shown.subject, shown.issuer, shown.names) == ("CN=localhost", "CN=localhost", ("localhost", "127.0.0.1"))
    assert shown.begins is not None
    assert shown.ends is not None
    assert (shown.ends - shown.begins).days == 1
    assert shown.begins <= datetime.now(UTC) <= shown.ends
    assert second.resumed


@pytest.mark.parametrize(
    ("trust", "advice"),
    [
        ({"ca": "own"}, "it is not for wrong.example"),
        ({"ca": "other", "server_name": "localhost"}, "its issuer is not trusted"),
        ({"server_name": "localhost"}, "its issuer is not trusted"),
    ],
)
def test_an_upstream_that_cannot_be_trusted_is_refused_with_the_reason(
    serve: Serve, certificate: Certificate, tmp_path: Path, trust: dict[str, str], advice: str
) -> None:
    paths = {"own": certificate.cert, "other": self_signed(tmp_path, "other").cert}
    settings = {name: paths.get(value, value) for name, value in trust.items()}
    settings.setdefault("server_name", "wrong.example")
    ends = Ends()
    with tls_upstream(serving(certificate), answer) as address:
        server = serve(Forward(*address, tls=TlsUpstream(**settings)), on_close=ends.on_close)  # type: ignore[arg-type]
        assert fate(lambda: connect(server.address)) == ("reset", b"")
        end = ends.next()
        assert end.reason == "upstream_tls_failed"
        assert end.error is not None
        assert advice in end.error
        assert "; give " in end.error


def test_an_upstream_that_is_not_verified_is_warned_about_once(serve: Serve, certificate: Certificate) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = TlsUpstream(verify=False), TlsUpstream(verify=False)
    assert len([one for one in caught if "verify=False" in str(one.message)]) <= 1
    assert first == second
    with tls_upstream(serving(certificate), answer) as address:
        server = serve(Forward(*address, tls=first))
        with connect(server.address) as client:
            assert echo(client, b"hello") == b"hello"


def test_both_sides_show_certificates(serve: Serve, certificate: Certificate, tmp_path: Path) -> None:
    issuer = self_signed(tmp_path, "issuer", more="")
    own = signed(tmp_path, "own", issuer)
    shown: list[PeerCertificate | None] = []

    def on_connect(conn: Connection) -> None:
        shown.append(conn.client.tls.peer_certificate if conn.client.tls else None)

    context = serving(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(issuer.cert)
    ends = Ends()
    with tls_upstream(context, answer) as address:
        target = TlsUpstream(certificate.cert, "localhost", own.cert, own.key)
        server = serve(
            Forward(*address, tls=target),
            tls=Tls(certificate.cert, certificate.key, client_ca=issuer.cert),
            on_connect=on_connect,
            on_close=ends.on_close,
        )
        with over_tls(server.address, trusting(certificate, own)) as client:
            assert echo(client, b"hello") == b"hello"
        assert shown[0] is not None
        assert (shown[0].subject, shown[0].issuer, shown[0].names) == ("CN=own", "CN=issuer", ("own",))
        ends.next()
        with contextlib.suppress(OSError), over_tls(server.address, trusting(certificate)) as client:
            client.recv(1)
        end = ends.next()
        assert end.reason == "client_tls_failed"
        assert end.error is not None
        assert "client_ca demands one" in end.error


def test_a_client_gets_the_certificate_for_the_name_it_asks_for(
    echo_server: Address, serve: Serve, certificate: Certificate, tmp_path: Path
) -> None:
    other = self_signed(tmp_path, "other.example", more="DNS:*.other.example")
    server = serve(echo_server, tls=Tls(certificate.cert, certificate.key, more=[(other.cert, other.key)]))
    for name, right in [("localhost", certificate), ("other.example", other), ("a.other.example", other)]:
        with over_tls(server.address, trusting(right), name) as client:
            assert echo(client, b"hello") == b"hello"


def test_an_end_is_an_end_and_one_without_notice_a_reset(serve: Serve, certificate: Certificate) -> None:
    ends = Ends()
    with listener() as listening:
        choices: tuple[Literal["reset", "allow"], ...] = ("reset", "allow")
        for truncation in choices:
            tls = Tls(certificate.cert, certificate.key, truncation=truncation)
            server = serve(bound_address(listening), tls=tls, on_close=ends.on_close)
            for has_notice in (True, False):
                client = over_tls(server.address, trusting(certificate))
                upstream, _ = listening.accept()
                upstream.settimeout(10)
                client.sendall(b"last words")
                assert read_exactly(upstream, 10) == b"last words"
                if has_notice:
                    with contextlib.suppress(OSError):
                        client.settimeout(0.2)
                        client.unwrap()
                else:
                    client.shutdown(socket.SHUT_WR)
                is_whole = has_notice or truncation == "allow"
                assert ending(upstream) == ("eof" if is_whole else "reset", b"")
                upstream.close()
                client.close()
                end = ends.next()
                if is_whole:
                    assert end.reason != "client_truncated", end.error
                else:
                    assert end.reason == "client_truncated"
                    assert "close_notify" in str(end.error)


@pytest.mark.parametrize(
    ("words", "spoken"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP without TLS"),
        (b"SSH-2.0-OpenSSH_9\r\n", "SSH"),
        (b"\0\1\2\3\4\5", "00 01"),
    ],
)
def test_a_client_without_tls_is_told_apart(
    echo_server: Address, serve: Serve, certificate: Certificate, words: bytes, spoken: str
) -> None:
    ends = Ends()
    server = serve(echo_server, tls=Tls(certificate.cert, certificate.key), on_close=ends.on_close)
    with connect(server.address) as client:
        client.sendall(words)
        ending(client)
    end = ends.next()
    assert end.reason == "client_tls_failed"
    assert spoken in str(end.error)
    with over_tls(server.address, trusting(certificate)) as client:
        assert echo(client, b"still serving") == b"still serving"


def test_an_upstream_without_tls_is_told_apart(serve: Serve, certificate: Certificate) -> None:
    ends = Ends()
    with listener() as listening:
        server = serve(Forward(*bound_address(listening), tls=TlsUpstream(ca=certificate.cert)), on_close=ends.on_close)
        with connect(server.address):
            upstream, _ = listening.accept()
            with upstream:
                upstream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                end = ends.next()
    assert end.reason == "upstream_tls_failed"
    assert "HTTP without TLS" in str(end.error)


def test_a_handshake_that_stalls_is_ended(echo_server: Address, serve: Serve, certificate: Certificate) -> None:
    ends = Ends()
    server = serve(
        echo_server, tls=Tls(certificate.cert, certificate.key, handshake_timeout=0.2), on_close=ends.on_close
    )
    with connect(server.address) as client:
        client.sendall(b"\x16\x03\x01\x01\x00")
        assert ending(client)[0] == "reset"
    assert ends.next().reason == "handshake_timeout"


def test_what_cannot_be_used_is_one_line(certificate: Certificate, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "other")
    encrypted = tmp_path / "encrypted.key"
    openssl("pkey", "-in", certificate.key, "-aes256", "-passout", "pass:secret", "-out", encrypted)
    text = tmp_path / "text"
    text.write_text("no certificate")
    cert = certificate.cert
    attempts: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: Tls(tmp_path / "missing", cert), FileNotFoundError, "missing: no such file"),
        (lambda: Tls(tmp_path), OSError, "is a directory; give a file in it"),
        (lambda: Tls(text), ssl.SSLError, "no certificate in it; give a PEM file"),
        (lambda: Tls(cert), ssl.SSLError, "has a certificate and no key"),
        (lambda: Tls(cert, other.key), ssl.SSLError, "does not belong to the certificate"),
        (lambda: Tls(cert, encrypted), ssl.SSLError, "it is encrypted"),
        (lambda: TlsUpstream(ca=text), ssl.SSLError, "no certificate in it"),
        (lambda: TlsUpstream(ca=cert, verify=False), ValueError, "verify=False"),
        (lambda: TlsUpstream(key=cert), ValueError, "cert: it is missing"),
        (lambda: TlsUpstream(ca=cert, server_name="a" * 300), ValueError, "no name that a certificate can be for"),
        (lambda: TlsUpstream(ca=cert, alpn=["a" * 300]), ValueError, "alpn"),
        (lambda: TlsUpstream(ca=cert, alpn="h2"), TypeError, "alpn"),
        (lambda: Forward("unix:/a", tls=TlsUpstream(ca=cert)), ValueError, "server_name: a Unix socket"),
        (lambda: Forward("a:1", tls=Tls(cert, certificate.key)), TypeError, "give it to TheServer"),  # type: ignore[arg-type]
    ]
    for wrong, kind, advice in attempts:
        with pytest.raises(InterposeError) as caught:
            wrong()
        line = str(caught.value)
        assert advice in line, line
        assert "\n" not in line
        assert isinstance(caught.value, OSError if kind is FileNotFoundError else kind), type(caught.value)


def test_certificates_that_are_renewed_are_served_and_a_broken_one_is_not(
    echo_server: Address, serve: Serve, certificate: Certificate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = tmp_path / "current.crt", tmp_path / "current.key"
    shutil.copy(certificate.cert, cert)
    shutil.copy(certificate.key, key)
    server = serve(echo_server, tls=Tls(cert, key))
    renewed = self_signed(tmp_path, "localhost")

    def is_served(context: ssl.SSLContext) -> bool:
        try:
            with over_tls(server.address, context) as client:
                return echo(client, b"hello") == b"hello"
        except ssl.SSLCertVerificationError:
            return False

    assert is_served(trusting(certificate))
    shutil.copy(renewed.cert, cert)
    shutil.copy(renewed.key, key)
    wait = threading.Event()
    assert any(is_served(trusting(renewed)) or wait.wait(0.2) for _ in range(60))
    cert.write_text("broken")
    assert any("are not used" in caplog.text or wait.wait(0.2) for _ in range(60))
    assert is_served(trusting(renewed))


def test_secrets_are_written_only_where_that_is_asked_for(
    echo_server: Address, serve: Serve, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unasked, asked = tmp_path / "unasked", tmp_path / "asked"
    # Made before, because Python's own contexts do look at it.
    context = trusting(certificate)
    monkeypatch.setenv("SSLKEYLOGFILE", str(unasked))
    for keylog in (None, asked):
        server = serve(echo_server, tls=Tls(certificate.cert, certificate.key, keylog=keylog))
        with over_tls(server.address, context) as client:
            assert echo(client, b"hello") == b"hello"
    assert not unasked.exists()
    assert "CLIENT_TRAFFIC_SECRET_0" in asked.read_text()
    assert stat.S_IMODE(asked.stat().st_mode) == 0o600
    asked.chmod(0o640)
    with pytest.raises(TlsError, match="others may read it, and with it all that is said; chmod 600 "):
        Tls(certificate.cert, certificate.key, keylog=asked)
    Tls(certificate.cert, certificate.key, keylog="/dev/null")


def test_the_settings_of_a_target_are_values(certificate: Certificate) -> None:
    made = [TlsUpstream(ca=certificate.cert, server_name="a.example", alpn=["h2"]) for _ in range(2)]
    assert made[0] == made[1] == pickle.loads(pickle.dumps(made[0]))
    forwards = [Forward("a:1", tls=tls) for tls in made]
    assert forwards[0] == forwards[1] == pickle.loads(pickle.dumps(forwards[0]))
    assert forwards[0] != Forward("a:1")
    assert "a.example" in repr(forwards[0])
    with pytest.raises(ConfigError, match="start"):
        forwards[0].start()
    with pytest.raises(ArgumentTypeError, match="put it in forward_to"):
        TheServer("", 0, forwards[0], tls=made[0])  # type: ignore[arg-type]


def test_the_exceptions_are_of_python_s_kinds_too() -> None:
    assert issubclass(TlsError, ssl.SSLError)
    assert issubclass(TlsFileError, OSError)
    assert interpose.Tls.__module__ == "interpose"
