"""`--sni`: the command routes TLS by name, and what is wrong is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from interpose import ByName, ConfigError
from interpose._addresses import address_text
from interpose._cli.naming import by_name
from interpose._cli.parsing import parse
from interpose._groups import Naming
from support.hellos import UNRECOGNIZED_NAME, hello_of
from support.peers import Address, Echo, Served, connect, ending, read_exactly
from support.proxies import ProxyCommand


def said(address: Address, data: bytes) -> tuple[str, bytes]:
    with connect(address) as client:
        client.sendall(data)
        client.shutdown(1)
        return ending(client)


def test_clients_go_where_their_names_do_and_the_others_to_target(tmp_path: Path) -> None:
    hello = hello_of("x.a.example")
    with Echo() as echo, Served(lambda sock: sock.sendall(b"target")) as target:
        words = ("--sni", f"*.a.example={address_text(echo.address)}")
        with ProxyCommand("0", address_text(target.address), tmp_path, *words) as proxy:
            assert f"forwarding by name, else to {address_text(target.address)}" in proxy.first_line
            with connect(proxy.address) as client:
                client.sendall(hello)
                assert read_exactly(client, len(hello)) == hello
            with connect(proxy.address) as client:
                client.sendall(hello_of("a.example"))
                assert read_exactly(client, 6) == b"target"
            assert said(proxy.address, b"GET / HTTP/1.1\r\n\r\n")[0] == "reset"
            proxy.child.wait_for("client_tls_failed.*HTTP without TLS")
        with ProxyCommand("0", address_text(target.address), tmp_path, *words, "--sni-only") as proxy:
            assert said(proxy.address, hello_of("a.example")) == ("eof", UNRECOGNIZED_NAME)
            proxy.child.wait_for("unknown_name.*a.example")


def test_a_file_has_them_too(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        '[[listener]]\nlisten = "0"\nforward_to = "b:1"\nsni.targets = ["a.example=c:2"]\nsni.only = true\n'
    )
    (listener,) = parse(["--config", str(file)], {}).listeners
    assert by_name(listener.sni) == ByName({"a.example": "c:2"}, default=False)
    assert parse(["9090", "b:1"], {"INTERPOSE_SNI": "a.example=c:2,*.d.example=e:3"}).listeners[0].sni.targets == (
        "a.example=c:2",
        "*.d.example=e:3",
    )


@pytest.mark.parametrize(
    ("targets", "line"),
    [
        (["a.example"], "--sni: 'a.example' has no =; write --sni a.example=10.0.0.1:443"),
        (["a.example=b:1", "a.example=c:1"], "--sni: a.example is there twice; leave one out"),
        (["a.example=b:1", "A.example=c:1"], "is there twice"),
        (["=b:1"], "--sni: "),
        (["a.example=b"], "--sni a.example: "),
        (["10.0.0.1=b:1"], '--sni: "10.0.0.1" is no name that clients ask for: it is an address'),
        (["a.*=b:1"], "a * that is not its whole first part"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(targets: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        by_name(Naming(targets=tuple(targets)))
    assert f"{raised.value}".startswith("--sni")
    assert line in f"{raised.value}"
    assert "\n" not in f"{raised.value}"


def test_tls_is_passed_on_or_spoken() -> None:
    names = Naming(targets=("a.example=b:1",))
    with pytest.raises(ConfigError, match="--tls-cert decrypts it; leave one of them out"):
        by_name(names, is_decrypted=True)
    with pytest.raises(ConfigError, match="leave tls:// out there"):
        parse(["9090", "tls://b:1", "--sni", "a.example=b:1"], {}).listeners[0].check_tls()


def test_only_names_need_names() -> None:
    with pytest.raises(ConfigError, match="--sni-only: there are no names"):
        by_name(Naming(only=True))
    assert by_name(Naming()) is None
