"""Proxies for tests with TLS: what is inside is waited for, and faults strike under it and above it."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from interpose import (
    ArgumentTypeError,
    ConfigError,
    Forward,
    Intercept,
    Tls,
    TlsCertificateError,
    TlsFileError,
    TlsUpstream,
    faults,
)
from interpose.testing import Certificates, Proxy
from support.certificates import Authority, Certificate, self_signed, serving, trusting
from support.peers import Address, Echo, connect, ending, fate, read_exactly
from support.peers import echo as said
from support.processes import program, run
from support.pytest_runs import Run
from support.tls_peers import answer, over_tls, tls_upstream

Make = Callable[..., Proxy]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


@pytest.fixture
def upstream(own: Certificate) -> Iterator[Address]:
    with tls_upstream(serving(own), answer) as address:
        yield address


def before(upstream: Address, own: Certificate) -> Forward:
    return Forward(*upstream, tls=TlsUpstream(own.cert, "localhost"))


def test_waits_and_the_transcript_have_what_is_inside(
    make: Make, upstream: Address, own: Certificate, tmp_path: Path
) -> None:
    """With certificates that are given, and with ones that are made for the names that clients ask for."""
    looking = Intercept(TlsUpstream(own.cert), folder=tmp_path)
    ways = [
        (make(before(upstream, own), tls=Tls(own.cert, own.key)), trusting(own)),
        (make(upstream, tls=looking), ssl.create_default_context(cadata=looking.certificate)),
    ]
    for proxy, context in ways:
        with over_tls(proxy.address, context) as client:
            client.sendall(b"GET a")
            seen = proxy.wait_for(b"GET", direction="to_upstream")
            assert read_exactly(client, 5) == b"GET a"
            client.unwrap()
        proxy.wait_closed()
        assert (seen.connection.client.tls, seen.connection.reason) != (None, None)
        assert seen.connection.reason == "finished"
        assert (proxy.transcript.to_upstream(), proxy.transcript.to_client()) == (b"GET a", b"GET a")


def test_faults_above_tls_count_what_is_said(make: Make, upstream: Address, own: Certificate) -> None:
    proxy = make(before(upstream, own), tls=Tls(own.cert, own.key))
    with proxy.fault(faults.Cut(after_bytes=4, direction="to_client")):
        with over_tls(proxy.address, trusting(own)) as client:
            client.sendall(b"abcdef")
            # In order, as TLS has it: with the notice of the end.
            assert (client.recv(100), client.recv(100)) == (b"abcd", b"")
        proxy.wait_closed()
    with proxy.fault(faults.Reset(on_match=b"fatal", direction="to_upstream")):
        # Python's ssl shows a reset as an end that is no good one, and hides even that unless it is asked not to.
        context, wire = trusting(own), connect(proxy.address)
        with context.wrap_socket(wire, server_hostname="localhost", suppress_ragged_eofs=False) as client:
            assert said(client, b"good") == b"good"
            client.sendall(b"fatal")
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                client.recv(1)
        proxy.wait_closed()
    with (
        proxy.fault(faults.Corrupt(on_match=b"x", direction="to_client")),
        over_tls(proxy.address, trusting(own)) as client,
    ):
        client.sendall(b"abxde")
        got = read_exactly(client, 5)
        assert (got[:2], got[3:]) == (b"ab", b"de")
        assert got != b"abxde"


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_a_reset_in_the_middle_of_a_handshake(
    side: str, make: Make, upstream: Address, own: Certificate, echo: Echo
) -> None:
    """The fault is under TLS: in a proxy of its own, before the one that speaks it, or behind."""
    reset = faults.Cut(after_bytes=100, how="reset", direction="to_client")
    if side == "client":
        speaking = make(echo.address, tls=Tls(own.cert, own.key))
        way = make(speaking.address, faults=[reset])
        with pytest.raises(ConnectionResetError), over_tls(way.address, trusting(own)):
            pass
        speaking.wait_closed()
        assert speaking.connections[0].reason in {"client_reset", "client_gone"}
    else:
        way = make(upstream, faults=[reset])
        speaking = make(before(way.address, own))
        assert fate(lambda: connect(speaking.address)) == ("reset", b"")
        speaking.wait_closed()
        assert speaking.connections[0].reason == "upstream_reset"
        assert "reset" in str(speaking.connections[0].error)
    way.wait_closed()
    assert way.connections[0].to_client.delivered == 100


@pytest.mark.parametrize("truncation", ["reset", "allow"])
def test_an_end_that_was_cut_short(truncation: str, make: Make, upstream: Address, own: Certificate) -> None:
    """Under TLS the way ends in order, in the middle of what the upstream says."""
    way = make(upstream)
    tls = TlsUpstream(own.cert, "localhost", truncation=truncation)  # type: ignore[arg-type]
    speaking = make(Forward(*way.address, tls=tls))
    with connect(speaking.address) as client:
        assert said(client, b"whole") == b"whole"
        way.add(faults.HalfClose(direction="to_client"))
        how, rest = ending(client)
    assert (how, rest) == ("reset" if truncation == "reset" else "eof", b"")
    speaking.wait_closed()
    if truncation == "reset":
        assert speaking.connections[0].reason == "upstream_truncated"


def test_a_certificate_that_has_expired(make: Make, tmp_path: Path) -> None:
    """The proxy checks it as clients do; one that does not, shows clients one like it."""
    authority = Authority(tmp_path)
    old = authority.sign("localhost", "-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
    with tls_upstream(serving(old), answer) as upstream:
        strict = make(Forward("localhost", upstream[1], tls=TlsUpstream(authority.own.cert)))
        assert fate(lambda: connect(strict.address)) == ("reset", b"")
        strict.wait_closed()
        error = strict.connections[0].tls_error
        assert isinstance(error, TlsCertificateError)
        assert "it has expired; renew it there" in str(error)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lax = TlsUpstream(verify=False)
        looking = Intercept(lax, folder=tmp_path / "authority")
        showing = make(upstream, tls=looking)
        context = ssl.create_default_context(cadata=looking.certificate)
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"), over_tls(showing.address, context):
            pass


def test_certificates_are_made_for_names_and_times(
    make: Make, echo: Echo, tcp_certificates: Certificates, tmp_path: Path
) -> None:
    def shown_by(pair: tuple[Path, Path], name: str, own: tuple[Path, Path] | None = None) -> ssl.SSLSocket:
        proxy = make(echo.address, tls=Tls(*pair, client_ca=None if own is None else tcp_certificates.ca))
        context = ssl.create_default_context(cafile=tcp_certificates.ca)
        # As Python 3.13 and later check by themselves.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if own is not None:
            context.load_cert_chain(*own)
        return over_tls(proxy.address, context, name)

    for name in ("localhost", "127.0.0.1", "::1"):
        with shown_by(tcp_certificates.pair(), name) as client:
            assert said(client, b"hello") == b"hello"
    wild = tcp_certificates.pair("*.b.example", "10.1.2.3")
    with shown_by(wild, "a.b.example", own=tcp_certificates.pair("client")) as client:
        assert said(client, b"hello") == b"hello"
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    for times, words in (({"ends": now - hour}, "expired"), ({"begins": now + hour}, "not yet valid")):
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            shown_by(tcp_certificates.pair(**times), "localhost")
    cert, key = wild
    assert (cert.parent, key.stat().st_mode & 0o777) == (tcp_certificates.ca.parent, 0o600)
    assert "PRIVATE" not in tcp_certificates.ca.read_text() + cert.read_text()


def test_what_is_no_name_or_no_time_is_refused(tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    now = datetime.now(UTC)
    with pytest.raises(ConfigError, match=r"names: a/b: it is no name .*; give a host name"):
        made.pair("a/b")
    with pytest.raises(ArgumentTypeError, match="names: it is int"):
        made.pair(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ends: it is before begins; give a later time"):
        made.pair(begins=now, ends=now - timedelta(seconds=2))
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsFileError, match="not a directory"):
        Certificates(tmp_path / "file")


TESTS = """
import ssl
from interpose import Intercept, Tls, TlsUpstream

def test_inside(tcp_proxy, tmp_path):
    looking = Intercept(TlsUpstream(CERT, "localhost"), folder=tmp_path)
    proxy = tcp_proxy(SECURE, tls=looking)
    context = ssl.create_default_context(cadata=looking.certificate)
    with socket.create_connection(proxy.address) as wire:
        with context.wrap_socket(wire, server_hostname="localhost") as client:
            client.sendall(b"plain words")
            assert client.recv(100) == b"plain words"
            assert False
"""


def test_the_diagram_of_a_test_that_fails_has_what_is_inside(run: Run, upstream: Address, own: Certificate) -> None:
    text = "import socket\nCERT, SECURE = " + repr((str(own.cert), upstream)) + TESTS
    result = run(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*plain words*"])


@pytest.mark.parametrize("days", [-2, -400, 2, 400])
def test_one_time_is_enough(days: int, tmp_path: Path) -> None:
    time = datetime.now(UTC) + timedelta(days=days)
    certificates = Certificates(tmp_path)
    for arguments in ({"begins": time}, {"ends": time}):
        cert, _ = certificates.pair(**arguments)
        shown = run([program("openssl", "openssl"), "x509", "-noout", "-dates", "-in", str(cert)], tmp_path).decode()
        begins, ends = (ssl.cert_time_to_seconds(line.partition("=")[2]) for line in shown.splitlines())
        assert begins < ends
        assert int(time.timestamp()) == (begins if "begins" in arguments else ends)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "*", "a..b", "x" * 300, "a/b"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is no name that a certificate can be for"):
        Certificates(tmp_path).pair(name)


def test_times_that_cannot_be_are_refused_and_the_last_ones_are_not(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    wrong: Any
    for wrong in ("2020", 5, b""):
        with pytest.raises(TypeError, match="begins: "):
            certificates.pair(begins=wrong)
    certificates.pair(ends=datetime.max.replace(tzinfo=UTC))
    certificates.pair(begins=datetime.max.replace(tzinfo=UTC))
