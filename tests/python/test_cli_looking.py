"""The command that shows what passes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from support.peers import Echo, connect, echo

COMMAND = [sys.executable, "-m", "interpose"]


@contextmanager
def looking(
    *words: str, out: int = PIPE, env: dict[str, str] | None = None
) -> Generator[tuple[Popen[str], tuple[str, int]]]:
    """Run the command in front of an echo; yield it with its address, which is its first line on standard error."""
    with Echo() as upstream:
        target = "{}:{}".format(*upstream.address)
        command = [*COMMAND, "0", target, *words]
        process = Popen(command, stdout=out, stderr=PIPE, text=True, env={**os.environ, **(env or {})})
        try:
            assert process.stderr is not None
            found = re.search(r"listening on ([\d.]+):(\d+)", process.stderr.readline())
            assert found is not None
            yield process, (found[1], int(found[2]))
        finally:
            process.kill()
            process.communicate()


def shown(*words: str, data: bytes = b"PING\r\n") -> str:
    with looking(*words) as (process, address):
        with connect(address) as client:
            assert echo(client, data) == data
        process.terminate()
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        return out


def test_what_passes_is_on_standard_output_and_nothing_else() -> None:
    lines = [line.partition("#1 ")[2] or line for line in shown("--hexdump", "--width", "8").splitlines()]
    assert lines[0].startswith("open 127.0.0.1:")
    assert lines[2:4] == ["> 6 bytes at 0", "  00000000  50 49 4e 47 0d 0a        |PING..|"]
    assert lines[-1] == "closed finished, > 6 bytes, < 6 bytes"


def test_json_is_json_and_messages_are_whole() -> None:
    objects = [json.loads(line) for line in shown("--json", "--framing", "lines", data=b"a\nb\n").splitlines()]
    upward = [one["text"] for one in objects if one["event"] == "data" and one["direction"] == "to_upstream"]
    assert upward == ["a\n", "b\n"]


def test_the_output_may_be_a_file_and_colours_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "seen.txt"
    words = ("--text", "--output", str(file), "--color", "always", "--truncate", "2")
    with Echo() as upstream:
        process = Popen([*COMMAND, "0", "{}:{}".format(*upstream.address), *words], stdout=PIPE, text=True)
        assert process.stdout is not None
        found = re.search(r"listening on ([\d.]+):(\d+)", process.stdout.readline())
        assert found is not None
        with connect((found[1], int(found[2]))) as client:
            echo(client, b"PING")
        process.terminate()
        process.communicate(timeout=20)
    text = file.read_text()
    assert "\x1b[36m> PI\x1b[0m" in text
    assert "... and 2 more bytes" in text


@pytest.mark.skipif(sys.platform == "win32", reason="pipes that are closed")
def test_a_reader_that_has_gone_resets_no_client() -> None:
    reader, writer = os.pipe()
    with looking("--hexdump", out=writer) as (process, address):
        os.close(writer)
        with connect(address) as client:
            assert echo(client, b"first") == b"first"
            os.close(reader)
            for _ in range(20):
                assert echo(client, b"x" * 10_000) == b"x" * 10_000
        process.terminate()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert "its reader has gone; nothing more is written there, and the connections go on" in err


WRONG: dict[tuple[str, ...], str] = {
    ("--hexdump", "--json"): "--json: it is not allowed with --hexdump; give one of them",
    ("--width", "8"): "--width: it says how to show what passes; add --hexdump, --text or --json",
    ("--framing", "resp"): "--framing: it says how to show what passes; add --hexdump, --text or --json",
    ("--hexdump", "--width", "0"): "--width: it is below 1; give at least 1",
    ("--hexdump", "--framing", "redis"): "--framing: there is no 'redis'; did you mean resp?",
    ("--hexdump", "--framing", "length"): "--framing: 'length' lacks its argument; write length:4",
    ("--hexdump", "--framing", "length:9"): "1 to 8, the bytes of the length field, such as length:4",
    ("--hexdump", "--framing", "delimited:xy"): "write delimited:0d0a for CR LF",
    ("--hexdump", "--framing", "lines:3"): "lines has no argument; write lines",
    ("--hexdmp",): "did you mean --hexdump?",
    ("--text", "--output", "/no/such/folder/x"): "--output /no/such/folder/x: No such file or directory",
    ("--text", "--color", "yes"): "--color",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_words_are_answered_in_one_line(words: tuple[str, ...]) -> None:
    command = [*COMMAND, "0", "127.0.0.1:9", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert WRONG[words] in ended.stderr
    assert ended.stderr.count("\n") == 1
