"""Environment variables of the command: slips, and what they say together with options."""

from __future__ import annotations

from pathlib import Path

import pytest
from interpose import ConfigError
from interpose._cli.parsing import parse
from support.scripts import command

WORDS = ["9090", "example.org:80"]

SLIPS = {
    "INTERPOSE_IDEL_TIMEOUT=3": "did you mean INTERPOSE_IDLE_TIMEOUT?",
    "INTERPOSE_IDLE=3": "did you mean INTERPOSE_IDLE_TIMEOUT?",
    "INTERPOSE_NO_SPLICE=1": "write INTERPOSE_SPLICE=no",
    "INTERPOSE_NO_PUBLIC=1": "write INTERPOSE_PUBLIC=no",
    "INTERPOSE_DRAIN=soon": "INTERPOSE_DRAIN: 'soon' is not a time; write seconds, or 200ms, 10s, 5m or 1h30m",
    "INTERPOSE_DRAIN=none": "INTERPOSE_DRAIN: 'none' would never end",
    "INTERPOSE_MAX_CONNECTIONS=10k": "INTERPOSE_MAX_CONNECTIONS: '10k' is not a whole number; write 10000",
    "INTERPOSE_PUBLIC=maybe": "INTERPOSE_PUBLIC: 'maybe' is neither yes nor no; write yes or no",
    "INTERPOSE_BACKLOG=0": "INTERPOSE_BACKLOG: it is below 1",
}


@pytest.mark.parametrize("variable", SLIPS)
def test_a_slip_of_a_variable_is_answered_by_its_name(variable: str) -> None:
    name, _, text = variable.partition("=")
    with pytest.raises(ConfigError) as caught:
        parse(WORDS, {name: text})
    assert SLIPS[variable] in str(caught.value)


@pytest.mark.parametrize("name", ["INTERPOSE_PORT", "INTERPOSE_SERVICE_HOST", "INTERPOSE_TEAM", "INTERPOSE_IDEL"])
def test_a_variable_that_is_somebody_else_s_is_left_alone(name: str) -> None:
    assert parse(WORDS, {name: "tcp://10.0.0.1:9090"}) == parse(WORDS, {})


def test_a_variable_s_wrong_value_does_not_matter_where_the_option_is_given() -> None:
    assert parse([*WORDS, "--drain", "3"], {"INTERPOSE_DRAIN": "soon"}).command.drain == 3


def test_the_option_of_a_pair_goes_before_the_variable_of_its_opposite() -> None:
    command = parse([*WORDS, "-q"], {"INTERPOSE_VERBOSE": "yes"}).command
    assert (command.quiet, command.verbose) == (True, False)
    with pytest.raises(ConfigError, match="INTERPOSE_QUIET: it is not allowed with INTERPOSE_VERBOSE; give"):
        parse(WORDS, {"INTERPOSE_VERBOSE": "yes", "INTERPOSE_QUIET": "yes"})


def test_the_command_reads_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPOSE_BACKLOG", "many")
    ended = command(tmp_path, *WORDS)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "interpose: INTERPOSE_BACKLOG: 'many' is not a whole number; give one such as 1024\n"
    assert command(tmp_path, *WORDS, "--backlog", "no").err.startswith("interpose: --backlog: ")
    assert command(tmp_path, "--help").code == 0
