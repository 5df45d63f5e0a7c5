"""Completions: those of each shell have what the tables of commands and settings have, and the shells take them."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import time
from pathlib import Path

import pytest
from interpose._cli.commands import COMMANDS
from interpose._cli.completions import words_of
from interpose._settings_and_help import rows_of
from support.processes import environment, find_program
from support.proxies import command as command_argv
from support.scripts import command, finish

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module", params=SHELLS)
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A shell's name, and what the command prints for it."""
    ended = command(tmp_path_factory.mktemp("completions"), "completions", request.param)
    assert (ended.code, ended.err) == (0, "")
    return request.param, ended.out


def spelled(shell: str, name: str) -> str:
    return f"-l {name[2:]} " if shell == "fish" else name


def test_each_has_every_command_option_and_choice_of_the_tables(script: tuple[str, str]) -> None:
    shell, text = script
    for row in rows_of():
        if row.flag:
            assert spelled(shell, row.flag) in text, row.key
            assert all(word in text for word in row.kind.words), row.key
            plain = row.help.replace("'", "").replace("\\", "")
            assert shell == "bash" or plain in text.replace("'", "").replace("\\", ""), row.key
    for one in COMMANDS:
        assert one.name in text
        assert all(spelled(shell, option.flag) in text for option in one.options)
        assert all(choice in text for choice in one.choices)


def test_bash_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    if find_program("bash") is None:
        pytest.skip("there is no bash")
    (tmp_path / "proxy one.toml").touch()
    forward = [name for one in words_of(COMMANDS[0]) for name in one.names if name.startswith("--")]
    # The words of a line, of which the last is being written, and what it may become.
    cases: list[tuple[list[str], list[str]]] = [
        ([""], [row.name for row in COMMANDS if row.name]),
        (["dem"], ["demo"]),
        (["9090", "db:1", "--idle"], ["--idle-timeout"]),
        (["9090", "db:1", "--on-reload", ""], ["keep", "drain"]),
        (["9090", "db:1", "--on-reload", "=", "d"], ["drain"]),
        (["9090", "db:1", "--drain", ""], []),
        (["--config", "pro"], ["proxy one.toml"]),
        (["doctor", "--"], ["--json", "--help"]),
        (["completions", ""], ["-h", "--help", "bash", "zsh", "fish"]),
        (["inspect", "pro"], ["proxy one.toml"]),
        (["inspect", "--ex"], ["--extract"]),
        (["9090", "db:1", "--"], forward),
    ]
    text = f'eval "$({shlex.join(command_argv())} completions bash)"'
    for words, _ in cases:
        text += f"\nCOMP_WORDS=({shlex.join(['interpose', *words])}); COMP_CWORD={len(words)}; _interpose"
        text += '\nprintf "%s\\n" "${COMPREPLY[@]}" "--end--"'
    ended = finish(["bash", "--norc", "-c", text], tmp_path)
    assert (ended.code, ended.err) == (0, ""), ended
    answers = [answer.split("\n")[:-1] for answer in ended.out.split("--end--\n")[:-1]]
    for (words, wanted), answer in zip(cases, answers, strict=True):
        assert answer == wanted, words


def test_fish_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    if find_program("fish") is None:
        pytest.skip("there is no fish")
    (tmp_path / "proxy.toml").touch()

    def fish(line: str) -> list[str]:
        text = f"{shlex.join(command_argv())} completions fish | source; complete -C {shlex.quote(line)}"
        ended = finish(["fish", "--no-config", "-c", text], tmp_path, env={"HOME": str(tmp_path)})
        assert ended.code == 0, ended
        return [found.split("\t")[0] for found in ended.out.splitlines()]

    assert sorted(fish("interpose ")) == sorted(row.name for row in COMMANDS if row.name)
    assert fish("interpose 9090 db:1 --idle") == ["--idle-timeout"]
    assert fish("interpose 9090 db:1 --on-reload ") == ["drain", "keep"]
    assert fish("interpose --config pro") == ["proxy.toml"]
    assert "--json" in fish("interpose doctor --")
    assert "--idle-timeout" not in fish("interpose doctor --")
    assert sorted(fish("interpose completions ")) == ["bash", "fish", "zsh"]


def test_zsh_completes_commands_options_and_values(tmp_path: Path) -> None:
    if find_program("zsh") is None:
        pytest.skip("there is no zsh")
    (tmp_path / "interpose.zsh").write_text(command(tmp_path, "completions", "zsh").out, encoding="utf-8")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment({"HOME": str(tmp_path), "TERM": "dumb", "PS1": "> "}))
    try:
        write(terminal, "autoload -Uz compinit; compinit -u -D; source ./interpose.zsh; echo rea''dy\n", "ready")
        # What is completed without doubt is put into the line.
        for typed, whole in {
            "dem": "demo ",
            "9090 db:1 --idle": "--idle-timeout=",
            "9090 db:1 --on-reload=d": "--on-reload=drain",
            "doctor --js": "--json",
            "completions fi": "fish",
        }.items():
            write(terminal, f"interpose {typed}\t", whole)
            write(terminal, "\x15echo do''ne\n", "done")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def write(terminal: int, text: str, wanted: str) -> None:
    """Type `text`, and read until `wanted` is shown."""
    os.write(terminal, text.encode())
    shown, end = "", time.monotonic() + 20
    while wanted not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x08|\r", "", shown):
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], shown
        shown += os.read(terminal, 4096).decode(errors="replace")
