"""`interpose check` and `interpose doctor`: they look, and serve nothing."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from interpose import _cli
from interpose._cli import doctor
from interpose._settings_and_help import rows_of
from support.peers import Address, Echo, Served, free_port
from support.processes import Child
from support.proxies import ProxyCommand
from support.proxies import command as command_argv
from support.scripts import command

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Runs the command, and returns its exit code and what it said."""
    monkeypatch.setenv("INTERPOSE_BACKLOG", "77")

    def run(*words: str) -> tuple[int, str, str]:
        code = _cli.main([*words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_what_is_right_is_looked_up_and_nothing_listens(said: Said) -> None:
    port = free_port()
    code, out, err = said("check", f"{port}", "localhost:80")
    assert (code, err) == (0, "")
    assert re.search(rf"^{port} -> localhost:80\n  forward_to: localhost:80 is [0-9.:, ]+\nit is right", out)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_each_setting_is_explained_with_its_place(said: Said, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        'timeouts.idle = "5m"\n[[listener]]\nlisten = 9090\nforward_to = "127.0.0.1:80"\n', encoding="utf-8"
    )
    code, out, _ = said("check", "--config", str(file), "--explain", "--drain", "3")
    assert code == 0
    found = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert re.search(rf" 5m +{re.escape(str(file))}:1$", found["timeouts.idle"])
    assert re.search(r" 77 +INTERPOSE_BACKLOG$", found["listening.backlog"])
    assert re.search(r" 3s +--drain$", found["command.drain"])
    assert re.search(r" 2m +default$", found["timeouts.half_close"])
    assert {row.key for row in rows_of()} <= set(found)
    assert f"9090 -> 127.0.0.1:80, {file}:3:\n" in out


WRONG = {
    "nowhere.invalid:80": "nowhere.invalid cannot be looked up",
    "127.0.0.1:9090": "127.0.0.1:9090 is the listener's own address",
    "localhost:9090": "localhost:9090 is the listener's own address",
}


@pytest.mark.parametrize("target", WRONG)
def test_what_is_wrong_is_said_and_is_1(target: str, said: Said) -> None:
    code, out, err = said("check", "9090", target)
    assert (code, err) == (1, "interpose: check: 1 thing is wrong with it; see the lines above\n")
    assert WRONG[target] in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not say who listens")
def test_an_address_that_is_taken_is_said_with_its_owner(said: Said, tmp_path: Path) -> None:
    target = "127.0.0.1:9"
    with ProxyCommand("127.0.0.1:0", target, tmp_path) as proxy:
        taken = f"127.0.0.1:{proxy.address[1]}"
        for listen in (taken, f"0.0.0.0:{proxy.address[1]}", f"localhost:{proxy.address[1]}"):
            code, out, err = said("check", listen, target)
            assert (code, "1 thing is wrong" in err) == (1, True)
            assert re.search(
                rf"^  listen: cannot listen on .*\(pid {proxy.child.popen.pid}\) listens there", out, re.MULTILINE
            )
    with ProxyCommand("127.0.0.1:0", target, tmp_path, "--reuse-port") as proxy:
        assert said("check", f"127.0.0.1:{proxy.address[1]}", target, "--reuse-port")[0] == 0
    path = tmp_path / "socket"
    with ProxyCommand(f"unix:{path}", target, tmp_path):
        assert "listens there; stop it" in said("check", f"unix:{path}", target)[1]
    # That one was killed, and has left its file.
    assert said("check", f"unix:{path}", target)[0] == 0
    assert "the folder does not exist" in said("check", f"unix:{tmp_path}/none/socket", target)[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not say who listens")
def test_the_instance_that_is_to_be_reloaded_is_not_in_the_way(said: Said, tmp_path: Path) -> None:
    text = f'[[listener]]\nlisten = "127.0.0.1:{free_port()}"\nforward_to = "127.0.0.1:9"\n'
    for name in ("proxy.toml", "other.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with Child([*command_argv(), "--config", "proxy.toml"], tmp_path) as child:
        child.wait_for("listening on")
        code, out, _ = said("check", "--config", str(tmp_path / "proxy.toml"))
        assert (code, f"by kill -HUP {child.popen.pid}\n" in out) == (0, True)
        code, out, _ = said("check", "--config", str(tmp_path / "other.toml"))
        assert (code, f"(pid {child.popen.pid}) listens there" in out) == (1, True)
        assert child.stop() == 0


def test_wrong_usage_is_2_as_without_check(said: Said) -> None:
    for words, answer in {
        "9090": "TARGET: it is missing",
        "9090 a:1 --explan": "did you mean --explain?",
        "9090 a:1 --idle-timout 5": "did you mean --idle-timeout?",
        "9090 a:1 --config x": "LISTEN and TARGET stand in the file",
        "9090 a:1 --script /none/at/all.py": "/none/at/all.py",
        "9090 a:1 -c def": "invalid syntax",
    }.items():
        code, _, err = said("check", *words.split())
        assert code == 2
        assert answer in err


def greeted(data: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.recv(1)

    return serve


GREETINGS = {
    b"SSH-2.0-OpenSSH_9.2p1\r\n": "an SSH server greets with 'SSH-2.0-OpenSSH_9.2p1'",
    b"220 mail.example.org ESMTP\r\n": "an SMTP server greets with",
    b"HTTP/1.1 408 Request Timeout\r\n": "an HTTP server that answers unasked",
    b"\x15\x03\x01\x00\x02\x02\x0a": "a TLS record, whose greeting is binary",
    b"J\x00\x00\x00\x0a8.0.35\x00": "a MySQL or MariaDB server, whose greeting is binary",
    b"hello\x1b[31m\n": "a server that speaks first, whose greeting is binary",
}


@pytest.mark.parametrize("greeting", GREETINGS, ids=lambda greeting: GREETINGS[greeting].split(",")[0])
def test_a_server_that_speaks_first_is_recognized(greeting: bytes, said: Said) -> None:
    with Served(greeted(greeting)) as server:
        code, out, _ = said("check", "0", f"127.0.0.1:{server.address[1]}", "--connect")
    assert code == 0
    assert re.search(rf"connect: connected to 127\.0\.0\.1:{server.address[1]} in [0-9.]+ ms; ", out)
    assert GREETINGS[greeting] in out


def test_other_targets_are_described(echo: Echo, refusing: Address, said: Said, tmp_path: Path) -> None:
    assert (
        "it waits for the client to speak first" in said("check", "0", f"127.0.0.1:{echo.address[1]}", "--connect")[1]
    )
    code, out, _ = said("check", "0", f"127.0.0.1:{refusing[1]}", "--connect")
    assert code == 1
    assert "connect: refused: nothing listens there" in out
    with Served(lambda _: None) as server:
        assert (
            "it closed the connection at once" in said("check", "0", f"127.0.0.1:{server.address[1]}", "--connect")[1]
        )
    both = ("--fallback", f"localhost:{echo.address[1]}", "--mirror-to", f"127.0.0.1:{refusing[1]}")
    code, out, err = said("check", "0", f"127.0.0.1:{echo.address[1]}", "--connect", *both)
    assert (code, "1 thing is wrong" in err) == (1, True)
    assert f"fallback localhost:{echo.address[1]}: connected" in out
    assert "mirror_to: refused" in out
    assert "there is no such socket" in said("check", "0", f"unix:{tmp_path}/none", "--connect")[1]


def test_the_doctor_has_a_value_for_each_and_a_remedy_for_what_is_low(said: Said, tmp_path: Path) -> None:
    code, out, err = said("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {"open files", "IPv6"} <= {one["name"] for one in found}
    assert all(one["value"] and (one["is_good"] or one["remedy"]) for one in found)
    # In a process of its own nothing else has made the groups of settings.
    plain = command(tmp_path, "doctor").out
    # The open files differ: the tests have raised their own.
    found = [one for one in found if one["name"] != "open files"]
    assert all(one["value"] in plain for one in found)
    assert all((one["remedy"] in plain) != one["is_good"] for one in found if one["remedy"])


def test_the_doctor_sees_what_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    low = {"net.core.somaxconn": "128", "net.ipv4.ip_local_port_range": "60000\t60999", "fs.pipe-max-size": "65536"}
    low |= {"net.ipv4.tcp_rmem": "4096 87380 212992", "net.ipv4.tcp_congestion_control": "reno"}
    monkeypatch.setattr(doctor, "_sysctl", low.get)
    monkeypatch.setattr(doctor, "_is_root", lambda: False)
    monkeypatch.setattr(doctor, "_platform", "linux")
    found = {one.name: one for one in doctor.findings()}
    names = ("somaxconn", "local ports", "pipe-max-size", "tcp_rmem", "congestion control")
    assert all(not found[name].is_good and "sysctl -w" in found[name].remedy for name in names)
    assert "1000 connections" in found["local ports"].value
