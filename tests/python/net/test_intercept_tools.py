"""The command's tools on what is inside TLS: scripts, replacements, captures and what is shown."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import Intercept
from interpose._addresses import address_text
from support.certificates import Certificate, self_signed, serving
from support.peers import Address
from support.peers import echo as said
from support.proxies import ProxyCommand
from support.tls_peers import answer, over_tls, tls_upstream
from support.tshark import seen


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


@pytest.fixture
def upstream(own: Certificate) -> Iterator[Address]:
    with tls_upstream(serving(own), answer) as address:
        yield address


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A client's context that trusts the authority of this test's user."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return ssl.create_default_context(cadata=Intercept().certificate)


def looking(upstream: Address, own: Certificate, folder: Path, *options: str) -> ProxyCommand:
    return ProxyCommand("0", address_text(upstream), folder, "--intercept", "--upstream-ca", str(own.cert), *options)


SCRIPT = """
from interpose import Connection, Side

def on_client_recv(side: Side, data: bytes) -> bytes:
    assert side.tls and side.other.tls
    print(side.tls.server_name, side.other.tls.version, data, flush=True)
    return data.upper()

def on_eof(side: Side) -> None:
    print("end of the", "client" if side.is_client else "server", flush=True)
"""


def test_a_script_and_replacements(
    own: Certificate, upstream: Address, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    options = ["--script", "script.py", "--replace", "HELLO=OLIVE"]
    with looking(upstream, own, tmp_path, *options) as proxy:
        with over_tls(proxy.address, trusting) as client:
            # The replacement sees what the client sends, and what comes back of what the script has made of it.
            assert said(client, b"hello") == b"OLIVE"
            client.unwrap()
        proxy.child.wait_for(r"localhost TLSv1\.3 b'hello'")
        proxy.child.wait_for("end of the client")
        assert proxy.stop() == 0


def test_a_capture_has_what_is_inside_and_its_ends(
    own: Certificate, upstream: Address, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    with looking(upstream, own, tmp_path, "--capture", "a.pcapng", "--hexdump") as proxy:
        with over_tls(proxy.address, trusting) as client:
            assert said(client, b"secret words") == b"secret words"
            client.unwrap()
        proxy.child.wait_for(r"\|secret words\|")
        assert proxy.stop() == 0
    found = seen(tmp_path / "a.pcapng")
    assert found.faults == []
    # Those of the client; --capture-sides has the others.
    assert [(one.to_server, one.to_client) for one in found.streams.values()] == [(b"secret words", b"secret words")]
    assert b"\x16\x03" not in (tmp_path / "a.pcapng").read_bytes()
