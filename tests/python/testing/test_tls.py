"""Proxies for tests with TLS: what is inside is waited for, and faults strike under it and above it."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interpose import Forward, Intercept, Tls, TlsCertificateError, TlsUpstream, faults
from interpose.testing import Proxy
from support.certificates import Authority, Certificate, self_signed, serving, trusting
from support.peers import Address, Echo, connect, ending, read_exactly
from support.peers import echo as said
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
        with connect(speaking.address) as client:
            assert ending(client) == ("reset", b"")
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
        client.sendall(b"more")
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
        with connect(strict.address) as client:
            assert ending(client) == ("reset", b"")
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
