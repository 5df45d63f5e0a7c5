"""Certificates that are not good: expired, self-signed, for another name, revoked; and files that change."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from interpose import (
    CloseReason,
    ConfigError,
    Forward,
    InterposeError,
    Tls,
    TlsCertificateError,
    TlsError,
    TlsUpstream,
)
from interpose._addresses import address_text
from support.certificates import Authority, Certificate, self_signed, serving, trusting
from support.peers import Address, Echo, connect, fate, listener
from support.peers import echo as said
from support.tls_peers import Ends, answer, over_tls, tls_upstream

# OpenSSL's numbers (X509_V_ERR).
NO_LIST, EXPIRED, OLD_LIST, UNTRUSTED, REVOKED, OTHER_NAME, OTHER_ADDRESS = 3, 10, 12, 20, 23, 62, 64
PAST = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def end_with(serve: Serve, upstream: Address, tls: TlsUpstream) -> tuple[TlsError, str]:
    """Return what becomes of two clients of such an upstream: the second is served like the first."""
    ends = Ends()
    server = serve(Forward("localhost", upstream[1], tls=tls), on_close=ends.on_close)
    found: list[tuple[TlsError, str]] = []
    for _ in range(2):
        assert fate(lambda: connect(server.address)) == ("reset", b"")
        end = ends.next()
        assert end.reason is CloseReason.UPSTREAM_TLS_FAILED
        assert end.tls_error is not None
        assert str(end.tls_error) == end.error
        found.append((end.tls_error, end.error or ""))
    assert found[0][1] == found[1][1]
    return found[0]


def checked(serve: Serve, shown: Certificate, tls: TlsUpstream, code: int, *words: str) -> None:
    with tls_upstream(serving(shown), answer) as upstream:
        error, line = end_with(serve, upstream, tls)
        where = f"cannot connect to {address_text(('localhost', upstream[1]))}: the upstream showed a certificate that "
    assert isinstance(error, TlsCertificateError)
    assert isinstance(error, InterposeError)
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert (error.verify_code, error.verify_message) == (code, line)
    assert line.startswith(f"{where}is not valid: "), line
    assert all(word in line for word in words), line
    assert "\n" not in line


def test_one_that_has_expired(serve: Serve, authority: Authority) -> None:
    tls = TlsUpstream(authority.own.cert)
    checked(serve, authority.sign("localhost", *PAST), tls, EXPIRED, "it has expired; renew it there")


def test_one_that_nobody_has_signed_but_itself(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    tls = TlsUpstream(authority.own.cert)
    words = "its issuer is not trusted; give its issuer, or itself if it is self-signed, as ca"
    checked(serve, self_signed(tmp_path), tls, UNTRUSTED, words)


def test_one_for_another_name(serve: Serve, authority: Authority) -> None:
    tls = TlsUpstream(authority.own.cert)
    words = "it is not for localhost, but for other.example; give the name that it is for as server_name"
    checked(serve, authority.sign("other.example"), tls, OTHER_NAME, words)


def test_one_for_another_address(serve: Serve, authority: Authority) -> None:
    tls = TlsUpstream(authority.own.cert, server_name="127.0.0.9")
    words = "it is not for 127.0.0.9, but for localhost; give the name that it is for as server_name"
    checked(serve, authority.sign(), tls, OTHER_ADDRESS, words)


def test_one_that_was_revoked_and_one_that_was_not(serve: Serve, authority: Authority) -> None:
    revoked = authority.sign()
    authority.revoke(revoked)
    tls = TlsUpstream(authority.own.cert, crl=authority.revoked())
    checked(serve, revoked, tls, REVOKED, "it was revoked; have a new one issued for it")
    with tls_upstream(serving(authority.sign()), answer) as upstream:
        server = serve(Forward("localhost", upstream[1], tls=tls))
        with connect(server.address) as client:
            assert said(client, b"hello") == b"hello"


def test_without_a_list_of_its_issuer_or_with_an_old_one_nobody_knows(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other").revoked()
    shown = authority.sign()
    tls = TlsUpstream(authority.own.cert, crl=other)
    checked(serve, shown, tls, NO_LIST, "no list in crl says whether it was revoked; add the list of its issuer")
    old = authority.revoked("-crl_lastupdate", PAST[1], "-crl_nextupdate", PAST[3])
    tls = TlsUpstream(authority.own.cert, crl=old)
    checked(serve, shown, tls, OLD_LIST, "the list of its issuer in crl is out of date; get a new list of that issuer")


def test_another_failure_of_tls_is_no_fault_of_a_certificate(serve: Serve, authority: Authority) -> None:
    with listener() as listening, Echo() as echo:
        ends = Ends()
        tls = TlsUpstream(authority.own.cert)
        server = serve(Forward("localhost", listening.getsockname()[1], tls=tls), on_close=ends.on_close)
        with connect(server.address):
            upstream, _ = listening.accept()
            with upstream:
                upstream.sendall(b"SSH-2.0-x\r\n")
                error = ends.next().tls_error
        assert isinstance(error, TlsError)
        assert not isinstance(error, ssl.SSLCertVerificationError)
        plain = serve(echo.address, on_close=ends.on_close)
        with connect(plain.address) as client:
            assert said(client, b"hello") == b"hello"
        assert ends.next().tls_error is None


def test_a_client_whose_certificate_was_revoked_is_refused(serve: Serve, authority: Authority, echo: Echo) -> None:
    own, good, bad = (authority.sign(name) for name in ("localhost", "good", "bad"))
    authority.revoke(bad)
    ends = Ends()
    tls = Tls(own.cert, own.key, client_ca=authority.own.cert, client_crl=authority.revoked())
    server = serve(echo.address, tls=tls, on_close=ends.on_close)
    with over_tls(server.address, trusting(authority.own, good)) as client:
        assert said(client, b"hello") == b"hello"
    ends.next()
    with over_tls(server.address, trusting(authority.own, bad)) as client, pytest.raises(OSError, match="revoked"):
        client.recv(1)
    end = ends.next()
    assert end.error == "the client sent a certificate that is not accepted: it was revoked"
    assert isinstance(end.tls_error, TlsCertificateError)
    assert end.tls_error.verify_code == REVOKED


def test_lists_that_will_not_do_are_one_line(authority: Authority, tmp_path: Path) -> None:
    own = authority.own
    broken = tmp_path / "broken.crl"
    revoked = authority.revoked()
    broken.write_text(revoked.read_text().replace("M", "N", 1))
    der = tmp_path / "list.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(revoked.read_text().replace("X509 CRL", "CERTIFICATE")))
    attempts: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (
            lambda: TlsUpstream(own.cert, crl=own.cert),
            TlsError,
            "there is no list of revoked certificates in it; give a",
        ),
        (lambda: TlsUpstream(own.cert, crl=broken), TlsError, "a list in it cannot be used"),
        (
            lambda: TlsUpstream(own.cert, crl=der),
            TlsError,
            f"it is DER; make PEM of it: openssl crl -inform der -in {der}",
        ),
        (lambda: TlsUpstream(crl=broken, verify=False), ConfigError, "crl: with verify=False nothing is checked"),
        (lambda: TlsUpstream(crl=tmp_path / "missing"), FileNotFoundError, "missing: no such file"),
        (lambda: Tls(own.cert, own.key, client_crl=broken), ConfigError, "client_crl: without client_ca no client"),
    ]
    for wrong, kind, line in attempts:
        with pytest.raises(InterposeError) as caught:
            wrong()
        assert isinstance(caught.value, OSError if kind is FileNotFoundError else kind)
        assert line in str(caught.value), caught.value
        assert "\n" not in str(caught.value)


def soon(is_so: Any) -> bool:
    """Return whether it is so within some seconds: files are looked at every five."""
    wait = threading.Event()
    return any(is_so() or wait.wait(0.2) for _ in range(60))


def test_files_for_an_upstream_are_read_again_and_broken_ones_are_not_used(
    serve: Serve, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown, ca, own = authority.sign(), tmp_path / "ca.pem", tmp_path / "own.pem"
    stranger, mine = self_signed(tmp_path, "stranger"), authority.sign("mine")
    shutil.copy(stranger.cert, ca)
    own.write_text(stranger.cert.read_text() + stranger.key.read_text())
    context = serving(shown)
    context.load_verify_locations(authority.own.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    with tls_upstream(context, answer) as upstream:
        server = serve(Forward("localhost", upstream[1], tls=TlsUpstream(ca, cert=own)))
        other = tmp_path / "other.pem"
        shutil.copy(authority.own.cert, other)
        kept = serve(Forward("localhost", upstream[1], tls=TlsUpstream(other, cert=mine.cert, key=mine.key)))

        def is_served(address: Address = server.address) -> bool:
            # A reset may come before connect() has returned.
            try:
                with connect(address) as client:
                    return said(client, b"hello") == b"hello"
            except (OSError, AssertionError):
                return False

        assert not is_served()
        other.write_text("broken")
        shutil.copy(authority.own.cert, ca)
        own.write_text(mine.cert.read_text() + mine.key.read_text())
        assert soon(is_served)
        assert soon(lambda: "changed files for upstreams are not used, and the old ones stay: ca " in caplog.text)
        assert is_served(kept.address)
