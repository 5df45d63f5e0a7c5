"""TLS of the command: its options, its settings file, and what is wrong with either in one line."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpose import ConfigError
from interpose._addresses import address_text
from interpose._cli.combinations import check
from interpose._cli.parsing import Options, parse
from support.certificates import Certificate, self_signed, signed, trusting
from support.peers import Address, Echo, connect, fate
from support.peers import echo as said
from support.processes import Child
from support.proxies import ProxyCommand
from support.proxies import command as start
from support.scripts import finish


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("own"))


@pytest.fixture
def upstream() -> Iterator[str]:
    with Echo() as echo:
        yield address_text(echo.address)


def options_of(own: Certificate) -> list[str]:
    return ["--tls-cert", str(own.cert), "--tls-key", str(own.key)]


def secure(address: Address, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    return context.wrap_socket(connect(address), server_hostname=name)


def test_clients_and_upstreams_have_tls_and_what_is_shown_has_none(
    own: Certificate, upstream: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    first = ProxyCommand("0", upstream, tmp_path, *options_of(own), "--keylog", str(keys))
    with first, secure(first.address, trusting(own)) as client:
        assert first.first_line.endswith(f", with TLS, forwarding to {upstream}\n")
        assert said(client, b"hello") == b"hello"
        target = f"tls://{address_text(first.address)}"
        trust = ["--upstream-ca", str(own.cert), "--upstream-server-name", "localhost"]
        second = ProxyCommand("0", target, tmp_path, *trust, "--text", "--output", "seen")
        with second, connect(second.address) as plain:
            assert f"forwarding to {target}" in second.first_line
            assert said(plain, b"plain words") == b"plain words"
            plain.close()
            assert second.stop() == 0
        assert "plain words" in (tmp_path / "seen").read_text()
    assert "CLIENT_TRAFFIC_SECRET_0" in keys.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_certificates_are_given_by_name_and_shown_both_ways(own: Certificate, upstream: str, tmp_path: Path) -> None:
    issuer, other = self_signed(tmp_path, "issuer", more=""), self_signed(tmp_path, "other.example")
    mine = signed(tmp_path, "mine", issuer)
    options = [*options_of(own), *options_of(other), "--tls-client-ca", str(issuer.cert)]
    with ProxyCommand("0", upstream, tmp_path, *options) as first:
        with secure(first.address, trusting(other, mine), "other.example") as client:
            assert said(client, b"hello") == b"hello"
        shown = ["--upstream-cert", str(mine.cert), "--upstream-key", str(mine.key), "--upstream-ca", str(own.cert)]
        second = ProxyCommand("0", f"tls://{address_text(first.address)}", tmp_path, *shown)
        with second, connect(second.address) as plain:
            assert said(plain, b"hello") == b"hello"


def test_an_unchecked_upstream_is_warned_about_and_one_that_fails_has_its_line(
    own: Certificate, upstream: str, tmp_path: Path
) -> None:
    with ProxyCommand("0", upstream, tmp_path, *options_of(own)) as first:
        target = f"tls://{address_text(first.address)}"
        # The warning comes before the line that says where it listens.
        with Child([*start(), "0", target, "--upstream-insecure"], tmp_path) as second:
            port = int(second.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[1])
            with connect(("127.0.0.1", port)) as plain:
                assert said(plain, b"hello") == b"hello"
            assert second.output().count("its certificate is not checked") == 1
        with ProxyCommand("0", target, tmp_path) as strict:
            assert fate(lambda: connect(strict.address)) == ("reset", b"")
            strict.child.wait_for(r"upstream_tls_failed\): .*the upstream showed a certificate.*give its issuer")


FILE = """
[tls]
cert = "{own.cert}"
key = "{own.key}"

[[listener]]
listen = "127.0.0.1:0"
forward_to = "{upstream}"

[[listener]]
listen = "localhost:0"
forward_to = "tls://{upstream}"
tls.alpn = ["echo"]
upstream.ca = "{own.cert}"
"""


def test_a_file_has_them_for_all_listeners_or_for_one(own: Certificate, upstream: str, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(FILE.format(own=own, upstream=upstream))
    first, second = parse(["--config", str(file)]).listeners
    assert (first.tls.cert, first.tls.alpn, first.is_secure) == ((str(own.cert),), (), False)
    assert (second.tls.key, second.tls.alpn, second.target_text) == ((str(own.key),), ("echo",), f"tls://{upstream}")
    assert second.target().tls is not None
    check((first, second), parse(["--config", str(file)]).command, {}, has_file=True)
    file.write_text(FILE.format(own=own, upstream=upstream).replace(f'upstream.ca = "{own.cert}"', 'upstream.ca = "x"'))
    with Child([*start(), "check", "--config", str(file)], tmp_path) as child:
        assert child.wait(20) == 2
        assert "proxy.toml:14: upstream.ca x: no such file or directory; give the path of a file" in child.output()


def test_a_reload_can_begin_to_speak_tls_with_the_target(own: Certificate, upstream: str, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    with ProxyCommand("0", upstream, tmp_path, *options_of(own)) as first:
        plain = f'[[listener]]\nlisten = "127.0.0.1:0"\nforward_to = "{upstream}"\n'
        file.write_text(plain)
        with ProxyCommand("--config", str(file), tmp_path) as proxy:
            with connect(proxy.address) as client:
                assert said(client, b"hello") == b"hello"
            target = f"tls://{address_text(first.address)}"
            file.write_text(plain.replace(upstream, target) + f'upstream.ca = "{own.cert}"\n')
            proxy.child.popen.send_signal(1)
            proxy.child.wait_for(rf"forward_to: {upstream} -> {target}")
            with connect(proxy.address) as client:
                assert said(client, b"hello") == b"hello"


def test_check_shakes_hands_with_the_target(own: Certificate, upstream: str, tmp_path: Path) -> None:
    with ProxyCommand("0", upstream, tmp_path, *options_of(own), "--tls-alpn", "echo") as first:
        words = ["0", f"tls://{address_text(first.address)}", "--upstream-alpn", "echo", "--connect"]
        for trust, code, line in (
            (
                ["--upstream-ca", str(own.cert)],
                0,
                "agreed on TLSv1.3 and echo; its certificate is for localhost, 127.0.0.1, until 2",
            ),
            (
                [],
                1,
                "connect: the upstream showed a certificate that is not valid: its issuer is not trusted; give its",
            ),
        ):
            ended = finish([*start(), "check", *words, *trust], tmp_path)
            assert line in ended.out
            assert ended.code == code, ended


def test_check_tries_the_targets_of_names_and_of_what_is_looked_into(
    own: Certificate, upstream: str, tmp_path: Path
) -> None:
    other = self_signed(tmp_path, "other.example")
    with ProxyCommand("0", upstream, tmp_path, *options_of(own), *options_of(other)) as first:
        secure = address_text(first.address)
        names = ["--sni", f"other.example={secure}", "--sni", f"*.b.example={secure}", "--sni", f"plain={upstream}"]
        ended = finish([*start(), "check", "0", upstream, "--connect", *names], tmp_path)
        assert ended.code == 1, ended
        lines = [line.strip() for line in ended.out.splitlines()]
        shown = "connected, and agreed on TLSv1.3; its certificate is for other.example, 127.0.0.1, until 2"
        assert any(line.startswith(f"--sni other.example: {shown}") for line in lines), lines
        assert any(line.startswith("--sni *.b.example: connected to 127.0.0.1:") for line in lines), lines
        assert any(line.startswith("--sni plain: the upstream sends back our own hello") for line in lines)
        looking = ["--intercept", "--tls-auto", "--upstream-ca", str(own.cert), "--upstream-server-name", "localhost"]
        ended = finish(
            [*start(), "check", "0", secure, "--connect", *looking], tmp_path, env={"XDG_DATA_HOME": str(tmp_path)}
        )
        assert (ended.code, "connect with TLS: connected, and agreed on TLSv1.3" in ended.out) == (0, True), ended


def checked(*words: str, **variables: str) -> Options:
    """Read a command line as `interpose check` does."""
    options = parse(words, variables)
    check(options.listeners, options.command, options.values, has_file=False)
    for listener in options.listeners:
        listener.check_tls()
    return options


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "a:1 --tls-cert missing",
            "--tls-cert missing: no such file or directory; give the path of a file that exists",
        ),
        ("a:1 --tls-cert .", "--tls-cert .: is a directory; give a file in it"),
        ("a:1 --tls-key k", "--tls-key: there is no certificate; add --tls-cert FILE"),
        (
            "a:1 --tls-cert c --tls-cert c --tls-key k",
            "--tls-key: there are 1 keys for 2 certificates; give one for each",
        ),
        ("a:1 --keylog k", "--keylog: nothing here speaks TLS; add --tls-cert FILE, or write tls:// before TARGET"),
        ("a:1 --upstream-ca c", "--upstream-ca: TLS is not spoken with TARGET; write tls://a:1"),
        ("a:1 --fallback tls://b:1", "--fallback: tls://b:1 has TLS and TARGET has none; write tls:// before TARGET"),
        (
            "tls://a:1 --upstream-ca c",
            "--upstream-ca c: no such file or directory; give the path of a file that exists",
        ),
        ("tls://a:1 --upstream-key k", "--upstream-key: there is no certificate for it; add --upstream-cert FILE"),
        ("tls://a:1 --upstream-ca c --upstream-insecure", "--upstream-insecure: --upstream-ca is not looked at then"),
        ("tls://a:1 --upstream-insecure --upstream-alpn=" + 256 * "a", "--upstream-alpn: a name is empty or longer"),
        ("tls://unix:/a --upstream-insecure", "--upstream-server-name: a Unix socket has no host name; give the name"),
        ("tls://a:1 --upstream-insecure --keylog .", "--keylog .: is a directory; give a file that can be written"),
        ("a:1 --cert c", "--cert: there is no such option; write --tls-cert FILE"),
        ("a:1 -k", "-k: there is no such option; write --upstream-insecure"),
        ("a:1 --tls-crt c", "--tls-crt: there is no such option; did you mean --tls-cert?"),
    ],
)
def test_what_will_not_do_is_one_line_that_says_what_will(words: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked("9090", *words.split())
    text = str(caught.value)
    assert text.startswith(line), text
    assert "\n" not in text


def test_a_variable_alone_writes_no_secrets() -> None:
    with pytest.raises(
        ConfigError, match="INTERPOSE_KEYLOG: secrets are not written for a variable alone; give --keylog"
    ):
        checked("9090", "tls://a:1", INTERPOSE_KEYLOG="keys", INTERPOSE_UPSTREAM_INSECURE="yes")
    with pytest.raises(ConfigError, match=r"INTERPOSE_CAPTURE_KEYS: secrets are not .*; give --capture-keys FILE"):
        checked("9090", "a:1", "--capture", "a.pcapng", INTERPOSE_CAPTURE_KEYS="keys")


def test_tls_stands_before_a_fallback_and_a_copy_too(own: Certificate) -> None:
    words = ["tls://a:1", "--fallback", "tls://b:2", "--mirror-to", "tls://c:3", "--upstream-ca", str(own.cert)]
    (listener,) = checked("9090", *words).listeners
    target, mirror = listener.target(), listener.mirror()
    assert target.fallback[0].tls == target.tls is not None
    assert not isinstance(mirror, str)
    assert mirror is not None
    assert (mirror.address, mirror.tls) == (("c", 3), target.tls)
