"""Slips on the command line, each answered in one line with the way it is done here.

argparse would refuse the same words, without saying what was meant.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

from .._exceptions import ConfigError, printable
from .._settings_and_help import rows_of
from .commands import COMMANDS

_EXAMPLE = "interpose 9090 example.org:80"
_LISTEN_FIRST = f"LISTEN is the first word, without an option; write {_EXAMPLE}"
_TARGET_SECOND = f"TARGET is the second word, without an option; write {_EXAMPLE}"

# Names that other programs have for an option.
_ELSEWHERE = {
    **dict.fromkeys(("-p", "--port", "-l", "--listen", "--bind", "-b", "--host", "--local", "--from"), _LISTEN_FIRST),
    **dict.fromkeys(
        ("--target", "--to", "--forward", "--forward-to", "--upstream", "--remote", "--connect", "--dest"),
        _TARGET_SECOND,
    ),
    **dict.fromkeys(("-V", "-version"), "write --version"),
    **dict.fromkeys(("-?", "-help"), "write --help"),
    **dict.fromkeys(("-d", "--debug", "--log-level"), "write --verbose (-v)"),
    "-s": "write --script FILE, or --quiet (-q)",
    "--silent": "write --quiet (-q)",
    **dict.fromkeys(("--scripts", "--plugin", "--addon", "--hooks", "--module", "-m"), "write --script FILE"),
    **dict.fromkeys(("-e", "--eval", "--exec", "--expression"), "write -c CODE"),
    **dict.fromkeys(("--option", "--param", "--define", "-D", "-o"), "write --set NAME=VALUE"),
    **dict.fromkeys(("--access-log", "--log-access"), "write --log-connections"),
    **dict.fromkeys(("--log-json", "--json-log"), "write --log-format json"),
    **dict.fromkeys(("--bind-address", "--source-ip", "--interface"), "write --source IP"),
    **dict.fromkeys(("--check", "--dry-run", "--validate", "-t"), "write interpose check before LISTEN and TARGET"),
    "--explain": "write interpose check before LISTEN and TARGET, and --explain behind them",
    **dict.fromkeys(
        ("--conf", "--configuration", "--config-file", "--settings", "-f", "--file"), "write --config FILE"
    ),
    **dict.fromkeys(("--tls", "--ssl", "--cert", "--certificate", "--pem"), "write --tls-cert FILE"),
    **dict.fromkeys(("--key", "--private-key"), "write --tls-key FILE, or --upstream-key FILE"),
    **dict.fromkeys(("--ca", "--cafile", "--cacert"), "write --upstream-ca FILE, or --tls-client-ca FILE for clients"),
    **dict.fromkeys(("-k", "--insecure", "--no-verify"), "write --upstream-insecure"),
    "--alpn": "write --tls-alpn NAME, or --upstream-alpn NAME",
    **dict.fromkeys(("--by-name", "--route", "--server-name", "--sni-route"), "write --sni NAME=TARGET"),
    "--timeout": "write " + " or ".join(row.flag for row in rows_of() if row.flag.endswith("-timeout")),
}
_WORDS = {
    "help": "write interpose --help",
    "version": "write interpose --version",
    **dict.fromkeys(("validate", "verify", "test", "dry-run", "lint"), "write interpose check LISTEN TARGET"),
    **dict.fromkeys(("completion", "complete"), "write interpose completions bash, zsh or fish"),
    **dict.fromkeys(("diagnose", "sysinfo"), "write interpose doctor"),
    **dict.fromkeys(("reload", "restart"), "send SIGHUP to the process; with --config it reads its file again"),
    **dict.fromkeys(("stop", "quit", "kill"), "press Ctrl-C, or send SIGTERM to the process"),
    **dict.fromkeys(("status", "stats", "list", "ps"), "send SIGUSR1 to the process, which then reports"),
    **dict.fromkeys(("start", "run", "serve", "forward", "proxy", "listen"), f"write {_EXAMPLE}"),
}
_COMMANDS = (*(row.name for row in COMMANDS if row.name), *_WORDS)


def check(words: Sequence[str], parser: argparse.ArgumentParser, *, has_file: bool = False) -> bool:
    """Raise ConfigError for the first slip that `words` have; return whether LISTEN and TARGET are among them.

    They may be missing where a file has listeners, or an API makes them: where --config or --toxiproxy-api is given, or
    without those if `has_file`.
    """
    known: dict[str, argparse.Action] = {}
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
        known.update(dict.fromkeys(action.option_strings, action))
    addresses: list[str] = []
    given: set[str] = set()
    repeated = {row.flag for row in rows_of() if row.kind.repeats}
    left = iter(range(len(words)))
    for index in left:
        word = words[index]
        if word == "--":
            # All behind it are addresses, whatever they begin with.
            addresses += words[index + 1 :]
            break
        if not _is_option(word):
            addresses.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            if not _is_cluster(word, known):
                _unknown(name, known)
            continue
        action = known[name]
        if action.nargs == 0:
            if equals:
                _refuse(name, f"it takes no value, and {value!r} is one; write {name}, or leave it out")
        else:
            if name in given and name not in repeated:
                _refuse(name, "it is given twice; give it once")
            given.add(name)
            if not equals and _lacks_value(words, index, known):
                _refuse(name, f"its value is missing; write {name} {_sample(action)}")
            if not equals:
                next(left)
    if "--config" in given:
        if addresses:
            _refuse(addresses[0], "LISTEN and TARGET stand in the file, as [[listener]]; leave them or --config out")
        return False
    if addresses or not (has_file or "--toxiproxy-api" in given):
        _check_addresses(addresses)
        return True
    return False


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not re.fullmatch(r"-[\d.]+", word)


def _is_cluster(word: str, known: dict[str, argparse.Action]) -> bool:
    return not word.startswith("--") and all(f"-{letter}" in known for letter in word[1:])


def _lacks_value(words: Sequence[str], index: int, known: dict[str, argparse.Action]) -> bool:
    return index + 1 == len(words) or words[index + 1].partition("=")[0] in known


def _sample(action: argparse.Action) -> str:
    return next(row.kind.sample for row in rows_of() if row.flag in action.option_strings)


def _unknown(name: str, known: dict[str, argparse.Action]) -> NoReturn:
    if name in ("-h", "--help", "--version"):
        _refuse(name, f"it takes no value; write {name} alone")
    if name in _ELSEWHERE:
        _refuse(name, f"there is no such option; {_ELSEWHERE[name]}")
    options = [option for option in known if option.startswith("--")]
    # One hyphen, underscores or capitals, or the beginning of a name alone.
    plain = "--" + name.lower().lstrip("-").replace("_", "-")
    near = [option for option in options if option.startswith(plain)] if len(plain) > 3 else []
    near = near or difflib.get_close_matches(plain, [*options, "--help", "--version"], 1, 0.7)
    if near:
        _refuse(name, f"there is no such option; did you mean {' or '.join(near)}?")
    _refuse(name, "there is no such option; see interpose --help")


def _check_addresses(words: list[str]) -> None:
    if not words:
        _refuse("LISTEN, TARGET", f"both are missing; write {_EXAMPLE}, or see interpose --help")
    first = words[0]
    named = [row.name for row in COMMANDS if row.name]
    for word in words:
        if word in named:
            _refuse(word, f"it must be the first word; write interpose {word}, or see interpose {word} --help")
    # No address is a word without a colon or a digit.
    if re.fullmatch("[A-Za-z-]+", first):
        near = difflib.get_close_matches(first.lower(), _COMMANDS, 1, 0.7)
        if near:
            _refuse(first, f"there is no such word; {_WORDS.get(near[0], f'did you mean interpose {near[0]}?')}")
    if len(words) == 1:
        _refuse("TARGET", f"it is missing: LISTEN and TARGET are two words; write {_EXAMPLE}")
    if len(words) > 2:
        _refuse(words[2], f"it is one word too many: LISTEN and TARGET are two words; write {_two_of(words)}")


def _two_of(words: list[str]) -> str:
    """Return the command with each host joined to the port that follows it, if that makes two words."""
    joined: list[str] = []
    for word in words:
        if joined and word.isdecimal() and not joined[-1].isdecimal() and not re.search(r":\d*$", joined[-1]):
            joined[-1] += f":{word}"
        else:
            joined.append(word)
    return f"interpose {' '.join(joined)}" if len(joined) == 2 else _EXAMPLE


def _refuse(what: str, why: str) -> NoReturn:
    raise ConfigError(printable(f"{what}: {why}"))
