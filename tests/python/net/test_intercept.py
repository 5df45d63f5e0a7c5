"""Looking inside TLS: what the client is shown, what its upstream is asked for, and what is wrong in one line."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    PASS,
    ArgumentTypeError,
    ClientHello,
    ConfigError,
    Connection,
    Forward,
    Intercept,
    InterposeError,
    Side,
    Tls,
    TlsError,
    TlsFileError,
    TlsUpstream,
)
from support.certificates import Certificate, self_signed, serving
from support.peers import Address, connect, echo
from support.scripts import command
from support.tls_peers import Ends, answer, over_tls, tls_upstream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    more = "DNS:*.b.example,IP:127.0.0.1"
    return self_signed(tmp_path_factory.mktemp("certificate"), "a.example", more=more)


@pytest.fixture
def upstream(certificate: Certificate) -> Iterator[Address]:
    context = serving(certificate)
    context.set_alpn_protocols(["h2", "b"])
    with tls_upstream(context, answer) as address:
        yield address


@pytest.fixture
def looking(tmp_path: Path, certificate: Certificate) -> Intercept:
    return Intercept(TlsUpstream(certificate.cert), folder=tmp_path / "authority")


def trusting(intercept: Intercept, *alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=intercept.certificate)
    # As Python 3.13 and later check by themselves.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def shown(client: ssl.SSLSocket) -> dict[str, Any]:
    found = client.getpeercert()
    assert found is not None
    return dict(found)


def test_what_is_said_inside_goes_through_callbacks(serve: Serve, upstream: Address, looking: Intercept) -> None:
    seen: list[tuple[Any, ...]] = []

    def on_client_recv(side: Side, data: bytes) -> bytes:
        assert side.tls is not None
        assert side.other.tls is not None
        seen.append((data, side.tls.server_name, side.tls.alpn, side.other.tls.server_name, side.other.tls.alpn))
        return data.upper()

    ends = Ends()
    server = serve(upstream, tls=looking, on_client_recv=on_client_recv, on_close=ends.on_close)
    with over_tls(server.address, trusting(looking, "x", "b"), "a.example") as client:
        assert client.selected_alpn_protocol() == "b"
        assert echo(client, b"hello") == b"HELLO"
        client.unwrap()
    assert seen == [(b"hello", "a.example", "b", "a.example", "b")]
    assert ends.next().reason == "finished"


def test_the_client_is_shown_what_the_upstream_has_shown(
    serve: Serve, upstream: Address, looking: Intercept, certificate: Certificate
) -> None:
    server = serve(upstream, tls=looking)
    context = ssl.create_default_context(cafile=str(certificate.cert))
    with over_tls(upstream, context, "a.example") as client:
        direct = shown(client)
    for name in ("a.example", "x.b.example", "127.0.0.1"):
        with over_tls(server.address, trusting(looking), name) as client:
            found = shown(client)
            assert echo(client, b"x") == b"x"
        for key in ("subjectAltName", "notBefore", "notAfter"):
            assert found[key] == direct[key]
        assert found["serialNumber"] != direct["serialNumber"]
        assert "interpose of this user" in str(found["issuer"])


def test_a_certificate_is_made_once_for_each_name(serve: Serve, upstream: Address, looking: Intercept) -> None:
    server = serve(upstream, tls=looking)
    numbers: list[str] = []
    for _ in range(3):
        with over_tls(server.address, trusting(looking), "a.example") as client:
            numbers.append(shown(client)["serialNumber"])
    assert len(set(numbers)) == 1


def test_a_forward_of_its_own_tls_is_asked_with_that(
    serve: Serve, upstream: Address, tmp_path: Path, certificate: Certificate
) -> None:
    looking = Intercept(folder=tmp_path)
    forward = Forward(*upstream, tls=TlsUpstream(certificate.cert, "a.example", alpn=["h2"]))
    server = serve(forward, tls=looking)
    # The name that the client asks for is one that the upstream is not for: it gets what it asked for.
    with over_tls(server.address, trusting(looking, "b", "h2"), "other.example") as client:
        assert echo(client, b"x") == b"x"
        assert client.selected_alpn_protocol() == "h2"
        assert ("DNS", "other.example") in shown(client)["subjectAltName"]


def test_a_client_that_does_not_trust_the_authority_is_told_of_with_what_to_do(
    serve: Serve, upstream: Address, looking: Intercept
) -> None:
    ends = Ends()
    server = serve(upstream, tls=looking, on_close=ends.on_close)
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        over_tls(server.address, ssl.create_default_context(), "a.example"),
    ):
        pass
    ended = ends.next()
    assert ended.reason == "client_tls_failed"
    assert ended.error is not None
    assert "unknown_ca" in ended.error
    assert ended.error.endswith("interpose ca trust")


@pytest.mark.parametrize("problem", ["wrong name", "refused", "not TLS", "not trusted"])
def test_without_an_upstream_the_client_gets_an_alert(
    problem: str, serve: Serve, upstream: Address, looking: Intercept, echo: Any, refusing: Address, tmp_path: Path
) -> None:
    reasons = {
        "wrong name": "upstream_tls_failed",
        "refused": "refused",
        "not TLS": "upstream_tls_failed",
        "not trusted": "upstream_tls_failed",
    }
    target = {"refused": refusing, "not TLS": echo.address}.get(problem, upstream)
    tls = Intercept(folder=tmp_path / "authority") if problem == "not trusted" else looking
    name = "other.example" if problem == "wrong name" else "a.example"
    ends = Ends()
    server = serve(target, tls=tls, on_close=ends.on_close)
    with pytest.raises(ssl.SSLError, match=r"(?i)internal.error"), over_tls(server.address, trusting(tls), name):
        pass
    assert ends.next().reason == reasons[problem]


def test_a_hook_lets_pass_undecrypted(
    serve: Serve, upstream: Address, looking: Intercept, certificate: Certificate
) -> None:
    def on_client_hello(conn: Connection, hello: ClientHello) -> Any:
        return PASS if hello.server_name == "x.b.example" else None

    server = serve(upstream, tls=looking, on_client_hello=on_client_hello)
    context = ssl.create_default_context(cafile=str(certificate.cert))
    with over_tls(server.address, context, "x.b.example") as client:
        assert echo(client, b"x") == b"x"
    with over_tls(server.address, trusting(looking), "a.example") as client:
        assert echo(client, b"x") == b"x"


def test_nowhere_is_looked_into_as_well(serve: Serve, looking: Intercept) -> None:
    def on_client_recv(side: Side, data: bytes) -> None:
        side.send(data[::-1])

    def on_accept(_: Connection) -> Forward:
        return Forward.NOWHERE

    server = serve(None, tls=looking, on_accept=on_accept, on_client_recv=on_client_recv)
    with over_tls(server.address, trusting(looking), "anything.example") as client:
        assert echo(client, b"abc") == b"cba"


def test_who_speaks_no_tls_is_told_of(serve: Serve, upstream: Address, looking: Intercept) -> None:
    ends = Ends()
    server = serve(upstream, tls=looking, on_close=ends.on_close)
    with connect(server.address) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        ended = ends.next()
    assert ended.reason == "client_tls_failed"
    assert "HTTP without TLS" in str(ended.error)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_the_authority_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "authority"
    first = Intercept(folder=folder)
    assert first.path == folder / "ca.pem"
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["ca.pem"]
    assert Intercept(folder=folder).certificate == first.certificate
    assert "PRIVATE" not in first.certificate


def _made(folder: str) -> str:
    return Intercept(folder=folder).certificate


def test_processes_that_make_one_at_the_same_time_have_the_same(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_made, [str(tmp_path)] * 8))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_files_that_are_no_authority_are_refused_with_what_to_do(tmp_path: Path) -> None:
    def said(kind: type[InterposeError]) -> str:
        with pytest.raises(kind) as raised:
            Intercept(folder=tmp_path)
        return str(raised.value)

    path = tmp_path / "ca.pem"
    text = Path(Intercept(folder=tmp_path).path).read_text()
    path.chmod(0o640)
    assert said(TlsFileError).endswith(f"others may use its key (mode 0640); if nobody has: chmod 600 {path}")
    path.chmod(0o600)
    for cut, words in (("", "no certificate"), (text[: text.index("-----BEGIN PRIVATE")], "no key")):
        path.write_text(cut)
        assert words in said(TlsError)
        assert "remove it" in said(TlsError)
    path.unlink()
    path.mkdir()
    assert "directory" in said(TlsFileError)
    path.rmdir()


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="upstream: it is Tls"):
        Intercept(object.__new__(Tls), folder=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="folder: it is int"):
        Intercept(folder=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="folder"):
        Intercept(foldr=tmp_path)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="handshake_timeout"):
        Intercept(folder=tmp_path, handshake_timeout=0)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(TlsFileError, match="XDG_DATA_HOME"):
        Intercept(folder=file / "in")


def test_the_command_shows_the_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    certificate = Intercept().certificate
    assert Intercept().path == tmp_path / "interpose" / "ca.pem"
    shown = command(tmp_path, "ca")
    assert shown.code == 0
    assert f"file     {tmp_path}/interpose/ca.pem\n" in shown.out
    assert "\nexpires  20" in shown.out
    assert command(tmp_path, "ca", "export").out == certificate
    assert command(tmp_path, "ca", "export", "--der", "ca.der").code == 0
    assert (tmp_path / "ca.der").read_bytes() == ssl.PEM_cert_to_DER_cert(certificate)
    trust = command(tmp_path, "ca", "trust").out
    assert trust.count(str(tmp_path / "interpose" / "ca.pem")) == 2
    for words, why in (
        (["ca", "exprot"], "export"),
        (["ca", "--der", "x"], "interpose ca export --der FILE"),
        (["ca", "export", "--der", "missing/x"], "missing/x"),
    ):
        ended = command(tmp_path, *words)
        assert ended.code == 2
        assert why in ended.err
        assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--intercept", "--tls-cert", "x.crt"], "clients are shown --tls-cert"),
        (["--intercept", "--tls-alpn", "h2"], "leave one of them out"),
        (["--intercept", "--tls-client-ca", "x"], "leave one of them out"),
        (["--starttls", "--tls-cert", "x.crt"], "--starttls: clients are shown --tls-cert"),
        (["--starttls", "--tls-alpn", "h2"], "leave one of them out"),
        (["--starttls", "--tls-auto"], "leave one of them out"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], why: str, tmp_path: Path) -> None:
    ended = command(tmp_path, "check", "0", "127.0.0.1:443", *words)
    assert ended.code == 2
    assert why in ended.err


def test_a_client_that_leaves_before_its_upstream_is_there_is_let_go(serve: Serve, looking: Intercept) -> None:
    """The upstream accepts, and says nothing."""
    ends = Ends()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = serve(silent.getsockname(), tls=looking, on_close=ends.on_close)
        client = connect(server.address)
        hello, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        pending = trusting(looking).wrap_bio(hello, outgoing, server_hostname="a.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            pending.do_handshake()
        client.sendall(outgoing.read())
        silent.settimeout(10)
        accepted, _ = silent.accept()
        accepted.settimeout(10)
        assert accepted.recv(1) == b"\x16"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert ends.next().reason == "client_gone"
        accepted.close()
