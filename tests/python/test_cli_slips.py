"""Slips on the command line: each is answered in one line, with the way it is done."""

from __future__ import annotations

import pytest
from interpose import _cli
from interpose._cli.parsing import parse

TARGET = "example.org:80"
RIGHT = "interpose 9090 example.org:80"

OPTIONS = {
    "--idle-timout 5": "did you mean --idle-timeout?",
    "--idle_timeout 5": "did you mean --idle-timeout?",
    "-idle-timeout 5": "did you mean --idle-timeout?",
    "--Drain 5": "did you mean --drain?",
    "--dra 5": "did you mean --drain?",
    "--max-conections=5": "did you mean --max-connections?",
    "--help=3": "--help: it takes no value; write --help alone",
    "-h=3": "-h: it takes no value; write -h alone",
    "--version=3": "--version: it takes no value; write --version alone",
    "--drain=-1": "--drain: '-1' is negative; write seconds, or 200ms, 10s, 5m or 1h30m",
    "--drain nan": "--drain: 'nan' is not a number; write seconds, or 200ms",
    "--drain 1e-9": "--drain: '1e-9' is less than a millisecond; write seconds, or 200ms",
    "--idle-timeout=-2": "--idle-timeout: '-2' is negative; write seconds, or 200ms",
    "--verbos": "did you mean --verbose?",
    "--timeout 5": "write --connect-timeout or --half-close-timeout or --idle-timeout",
    "--debug": "write --verbose (-v)",
    "-V": "write --version",
    "--nonsense": "see interpose --help",
    "-x": "see interpose --help",
    "--idle-timeout 0": "write none for no limit",
    "--idle-timeout 0s": "write none for no limit",
    "--idle-timeout=-1": "write none for no limit",
    "--half-close-timeout never": "write none for no limit",
    "--retry 0": "write none to try each target once",
    "--connect-timeout 0": "less than a millisecond",
    "--drain none": "write a time, such as 1h, or 0 to stop at once",
    "--drain soon": "write seconds, or 200ms, 10s, 5m or 1h30m",
    "--drain 5parsecs": "write seconds, or 200ms, 10s, 5m or 1h30m",
    "--drain 5m30": "write seconds, or 200ms, 10s, 5m or 1h30m",
    "--max-connections 10k": "write 10000",
    "--max-connections 10,000": "write 10000",
    "--max-connections none": "leave it out for what descriptors allow",
    "--drain": "write --drain 10",
    "--drain --public": "write --drain 10",
    "--source": "write --source 192.0.2.1",
    "--backlog": "write --backlog 1024",
    "--drain 5 --drain 6": "--drain: it is given twice; give it once",
    "--public=yes": "--public: it takes no value",
    "-v=1": "-v: it takes no value",
    "-vq": "not allowed",
    "--truncate 1K": "write 1kB or 1KiB",
    "--truncate all": "write none for all, or a size such as 64KiB",
    "--capture a.pcapng --capture-snaplen 1GiB": "--capture-snaplen: it is above 262,144; give less",
    "--capture - --hexdump": "--capture: standard output has what --hexdump shows; add --output FILE",
    "--capture - --text --output -": "standard output has what --text shows; add --output FILE",
    "--capture seen --json --output ./seen": "--capture: seen is the file of --output, too; give another one",
    "--set limit=3": "--set: there is no script that has options; add --script FILE",
    "--on-reload drain": "--on-reload: drain is for a settings file that is read again; add --config FILE",
    "--text --grep a( --grep b": "--grep: pattern a(: at character 2: unclosed group",
    "--text --framing resp --framing-errors close": "--framing-errors: it is about replacing in whole messages",
    "--text --framing fixed:0": "--framing: it is below 1; give at least 1",
    "--text --framing fixed:1K": "write 1kB or 1KiB",
}

WORDS = {
    "": "both are missing",
    "9090": "TARGET: it is missing",
    "9090 example.org:80 third": "third: it is one word too many",
    "9090 example.org 80": RIGHT,
    "9090 example.org:80:80": 'it has more ports than one: give one ("example.org:80")',
    "9090:80 example.org:80": 'a port alone is one of this machine ("9090" or "80")',
    "chekc": "did you mean interpose check?",
    "doctr": "did you mean interpose doctor?",
    "complete": "write interpose completions",
    "validate": "write interpose check",
    "9090 example.org:80 --check": "write interpose check before LISTEN and TARGET",
    "9090 example.org:80 --explain": "write interpose check before LISTEN and TARGET, and --explain behind",
    "9090 example.org:80 -f proxy.toml": "write --config FILE",
    "9090 --config proxy.toml": "LISTEN and TARGET stand in the file",
    "--config": "write --config proxy.toml",
    "--config none.toml": "there is no such file",
    "--confg proxy.toml": "did you mean --config?",
    "9090 example.org:80 --on-reload stay": 'it is neither "keep" nor "drain"',
    "check": "LISTEN and TARGET are missing; write interpose check 9090 example.org:80",
    "chekc 9090 example.org:80": "did you mean interpose check?",
    "completion bash": "write interpose completions bash, zsh or fish",
    "reload": "send SIGHUP to the process",
    "stop": "press Ctrl-C, or send SIGTERM",
    "status": "send SIGUSR1 to the process",
    "check 9090": "TARGET: it is missing",
    "check 9090 example.org:80 third": "third: it is one word too many",
    "check --explan 9090 example.org:80": "did you mean --explain?",
    "doctor now": "write interpose doctor [--json]",
    "doctor --jsn": "did you mean --json?",
    "doctor --json=1": "it takes no value",
    "completions": "write interpose completions bash|zsh|fish",
    "completions powershell": "there are bash, zsh, fish",
    "completions bash zsh": "it takes no 'zsh'",
    "9090 check": "it must be the first word; write interpose check",
    "9090 example.org:htpt": "did you mean example.org:http?",
    "9090 localhost:htpp": "this machine knows no service htpp; did you mean localhost:http?",
    "9090 db:nosuchservice": "this machine knows no service nosuchservice; write its number, such as db:5432",
    "db:htpp example.org:80": "did you mean db:http?",
    "inspect a --width 8": "--width: it says how to show the bytes; add --hexdump",
    "inspect a --truncate 8 --json": "--truncate: it says how to show the bytes; add --hexdump or --text",
    "inspect a --hexdump --width 999": "--width: it is above 256; give less",
    "inspect a --hexdump --truncate 1K": "write 1kB or 1KiB",
    "-- 9090": "TARGET: it is missing",
    "-- 9090 example.org:80 -v": "-v: it is one word too many",
    "127.0.0.1 9090 example.org 80": "write interpose 127.0.0.1:9090 example.org:80",
    "-p 9090 example.org:80": "LISTEN is the first word",
    "--port=9090 example.org:80": "LISTEN is the first word",
    "--listen 9090 example.org:80": "LISTEN is the first word",
    "9090 --target example.org:80": "TARGET is the second word",
    "9090 --to example.org:80": "TARGET is the second word",
    "help": "write interpose --help",
    "version": "write interpose --version",
    "serve": RIGHT,
    "dmeo": "did you mean interpose demo?",
    "ehco": "did you mean interpose echo?",
    "demo --verbose": "write interpose demo",
    "demo twice": "write interpose demo",
    "-v echo 7070": "write interpose echo, or see interpose echo --help",
    "echo --port 7070": "write interpose echo [LISTEN], or see interpose echo --help",
}


def assert_answered(words: list[str], answer: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("interpose: ")
    assert err.count("\n") == 1
    assert answer in err


@pytest.mark.parametrize("words", OPTIONS)
def test_a_slip_of_an_option(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_answered(["9090", TARGET, *words.split()], OPTIONS[words], _cli.USAGE, capsys)


@pytest.mark.parametrize("option", ["--mirror-to", "--fallback"])
def test_an_address_is_answered_with_the_option_that_has_it(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = f'{option}: address "host": the port is missing; write 9090, host:9090, [::1]:9090 or unix:/path'
    assert_answered(["0", TARGET, option, "host"], answer, _cli.USAGE, capsys)


@pytest.mark.parametrize("words", WORDS)
def test_a_slip_of_the_words(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_answered(words.split(), WORDS[words], _cli.USAGE, capsys)


@pytest.mark.parametrize("target", ["9090", "localhost:9090"])
def test_listen_and_target_swapped(target: str) -> None:
    with pytest.raises(OSError, match=r"did you mean interpose 9090 192\.0\.2\.7:80"):
        parse(["192.0.2.7:80", target]).listeners[0].bind()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("1.5", 1.5), ("200ms", 0.2), ("10s", 10), ("5m", 300), ("1h30m", 5400), ("0.5h", 1800), ("1d", 86400)],
)
def test_times_have_units(text: str, seconds: float) -> None:
    names = ("--drain", "--connect-timeout", "--half-close-timeout", "--idle-timeout")
    options = parse(["9090", TARGET, *[word for name in names for word in (name, text)]])
    (listener,) = options.listeners
    times = (
        options.command.drain,
        listener.forward.connect_timeout,
        listener.timeouts.half_close,
        listener.timeouts.idle,
    )
    assert times == pytest.approx((seconds,) * 4)


def test_two_hyphens_end_the_options() -> None:
    for words in (["--", "9090", TARGET], ["9090", "--", TARGET], ["9090", TARGET, "--"], ["-v", "--", "9090", TARGET]):
        options = parse(words)
        (listener,) = options.listeners
        assert (listener.address, listener.forward.address) == ("9090", ("example.org", 80))
        assert options.command.verbose is ("-v" in words)


def test_the_help_names_every_signal_that_drains(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["--help"]) == _cli.OK
    ending = capsys.readouterr().out.partition("Ctrl-C, ")[2].partition(" lets connections finish")[0]
    assert ending == "SIGTERM or SIGHUP"


def test_what_is_right_passes() -> None:
    options = parse(["-v", "9090", "--drain=0", TARGET, "--idle-timeout", "none"])
    command = options.command
    assert (command.drain, options.listeners[0].timeouts.idle, command.verbose) == (0, None, True)
