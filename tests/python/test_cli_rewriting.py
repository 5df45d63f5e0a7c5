"""The command replaces what passes, and shows only what matches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from interpose._addresses import address_text
from interpose._replacements import halves, unescaped
from support.peers import Echo, connect, echo, ending, read_exactly
from support.proxies import ProxyCommand
from support.scripts import command


def test_bytes_are_replaced_with_escapes_on_the_way_to_the_upstream(tmp_path: Path) -> None:
    options = ["--replace", r"a\=b=c\x21", "--replace", "ping=pong", "--replace-regex", r"(\d+)\=x=<\1>"]
    with (
        Echo() as upstream,
        ProxyCommand(
            "0", address_text(upstream.address), tmp_path, *options, "--replace-direction", "to_upstream"
        ) as proxy,
        connect(proxy.address) as client,
    ):
        client.sendall(b"a=b ping 12=x.")
        assert read_exactly(client, 13) == b"c! pong <12>."


def test_a_direction_that_is_shown_alone_does_not_limit_what_is_replaced(tmp_path: Path) -> None:
    options = ["--replace", "ping=pong", "--text", "--output", "seen", "--direction", "to_client"]
    with (
        Echo() as upstream,
        ProxyCommand("0", address_text(upstream.address), tmp_path, *options) as proxy,
        connect(proxy.address) as client,
    ):
        client.sendall(b"ping")
        assert read_exactly(client, 4) == b"pong"


def test_lengths_are_set_right_where_the_protocol_is_known(tmp_path: Path) -> None:
    with (
        Echo() as upstream,
        ProxyCommand(
            "0", address_text(upstream.address), tmp_path, "--replace", "secret=x", "--framing", "length:2"
        ) as proxy,
        connect(proxy.address) as client,
    ):
        client.sendall(b"\0\x08a secret")
        assert read_exactly(client, 5) == b"\0\x03a x"


@pytest.mark.parametrize("errors", ["chunk", "close"])
def test_bytes_that_break_the_protocol_go_on_unless_a_reset_is_asked_for(errors: str, tmp_path: Path) -> None:
    options = ["--replace", "secret=x", "--framing", "resp", *(["--framing-errors=close"] if errors == "close" else [])]
    with (
        Echo() as upstream,
        ProxyCommand("0", address_text(upstream.address), tmp_path, *options) as proxy,
        connect(proxy.address) as client,
    ):
        client.sendall(b"+a secret\r\n")
        assert read_exactly(client, 6) == b"+a x\r\n"
        client.sendall(b"*x secret\r\n")
        if errors == "chunk":
            assert read_exactly(client, 6) == b"*x x\r\n"
            proxy.child.wait_for("unframed from byte 11 on")
        else:
            assert ending(client)[0] == "reset"


def test_only_connections_that_match_are_shown(tmp_path: Path) -> None:
    shown = tmp_path / "shown.jsonl"
    options = ["--json", "--output", str(shown), "--grep", "(?ix) NEEDLE # no (", "--grep", "pin"]
    with Echo() as upstream, ProxyCommand("0", address_text(upstream.address), tmp_path, *options) as proxy:
        for word in (b"hay PIN", b"needles"):
            with connect(proxy.address) as client:
                echo(client, word)
        assert proxy.stop() == 0
    seen = [json.loads(line) for line in shown.read_text().splitlines()]
    assert {one["connection"] for one in seen} == {2}
    assert [one["text"] for one in seen if one["event"] == "data"] == ["needles", "needles"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replace", "secret"], "has no =; write 'old=new'"),
        (["--replace", "=x"], "has nothing before the ="),
        (["--replace", "a=b", "--replace", "a=c"], "--replace: 'a=c': something else is to stand in its place"),
        (["--replace-regex", r"a(b)=\2"], "--replace-regex: replacement: group 2: the expression has group 1 alone"),
        (["--replace", r"a\q=x"], r"\q means nothing"),
        (["--replace-regex", "a(=b"], "at character 2: unclosed group"),
        (["--replace-regex", r"a=\1"], "group 1: the expression has none"),
        (["--replace-regex", "a*=b"], "write + in place of *"),
        (["--grep", "a"], "add --hexdump, --text or --json"),
        (["--hexdump", "--grep", "["], "unclosed character class"),
        (["--direction", "to_client"], "add --hexdump, --text or --json"),
        (["--direction", "up"], "to_upstream"),
        (["--replace", "a=b", "--direction", "to_client"], "--hexdump, --text or --json; or write --replace-direction"),
        (["--text", "--replace-direction", "to_client"], "nothing is replaced; add --replace OLD=NEW"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line_with_the_right_one(
    tmp_path: Path, options: list[str], words: str
) -> None:
    ended = command(tmp_path, "0", "127.0.0.1:9", *options)
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_escapes_are_those_of_a_shell_user() -> None:
    assert unescaped("x", r"\n\r\t\0\\\xff\=é") == b"\n\r\t\0\\\xff=\xc3\xa9"
    assert halves("x", r"a\\=b", "old=new") == (r"a\\", "b")


def test_a_capture_has_what_the_client_sent_and_what_the_upstream_got(tmp_path: Path) -> None:
    options = ["--replace", "secret=x", "--capture", "c.pcapng", "--text", "--output", "seen"]
    with Echo() as upstream, ProxyCommand("0", address_text(upstream.address), tmp_path, *options) as proxy:
        with connect(proxy.address) as client:
            client.sendall(b"a secret!")
            assert read_exactly(client, 4) == b"a x!"
        assert proxy.stop() == 0
    assert "> a secret!" in (tmp_path / "seen").read_text()
    ended = command(tmp_path, "inspect", "c.pcapng", "--extract", "out")
    assert ended.code == 0
    streams = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert streams == {
        "0001-to_upstream": b"a secret!",
        "0001-to_client": b"a x!",
        "0002-to_upstream": b"a x!",
        "0002-to_client": b"a x!",
    }
