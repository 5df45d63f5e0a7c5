"""`interpose completions SHELL`: what bash, zsh and fish complete, from the tables of commands and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .._exceptions import ConfigError
from .._kinds import Switch
from .._settings_and_help import rows_of
from .arguments import read_words
from .commands import COMMANDS, Command, command_of
from .console import OK, say

SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "DIR", "FOLDER")


@dataclass(frozen=True, slots=True)
class _Word:
    """An option: its names, what it does, and what may follow it."""

    names: tuple[str, ...]
    help: str
    metavar: str
    words: tuple[str, ...]

    @property
    def takes_file(self) -> bool:
        """Return whether a file's name follows."""
        return self.metavar in _FILES


def run(words: Sequence[str]) -> int:
    """Print the completions of one shell."""
    row = command_of(["completions"])
    places = read_words(row, words).places
    if not places:
        raise ConfigError(f"completions: the shell is missing; write interpose completions {'|'.join(SHELLS)}")
    if places[0] not in SHELLS:
        raise ConfigError(f"completions: there are none for {places[0]!r}; there are {', '.join(SHELLS)}")
    say(text_of(places[0]))
    return OK


def text_of(shell: str) -> str:
    """Return the completions of one of SHELLS."""
    texts: dict[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return texts[shell]()


def words_of(command: Command) -> list[_Word]:
    """Return the options of a command, of its own row and of the table of settings."""
    found: list[_Word] = []
    for row in rows_of() if command.settings else ():
        if not row.flag:
            continue
        names = (row.short, row.flag) if row.short else (row.flag,)
        found.append(_Word(names, row.help, row.kind.metavar, row.kind.words))
        if isinstance(row.kind, Switch):
            opposite = f"--{row.long}" if row.flag.startswith("--no-") else f"--no-{row.long}"
            found.append(_Word((opposite,), f"undo {row.flag}", "", ()))
    for option in command.options:
        names = (option.short, option.flag) if option.short else (option.flag,)
        found.append(_Word(names, option.help, option.metavar, option.choices))
    if not command.name:
        found.append(_Word(("--version",), "show the version", "", ()))
    found.append(_Word(("-h", "--help"), "show the help", "", ()))
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _named() -> list[Command]:
    return [row for row in COMMANDS if row.name]


def _bash() -> str:
    lines = [
        '# Completions of interpose for bash. In ~/.bashrc: eval "$(interpose completions bash)"',
        "_interpose() {",
        "    local IFS=$'\\n' word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=''",
        "    # bash takes --option=value for three words.",
        "    if [[ $word == '=' ]]; then word=''",
        "    elif [[ $before == '=' ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi",
        "    COMPREPLY=()",
        "    case $before in",
    ]
    every = {name: one for command in COMMANDS for one in words_of(command) if one.metavar for name in one.names}
    files = [name for name, one in every.items() if one.takes_file]
    if files:
        lines.append(f"        {'|'.join(files)})")
        lines.append('            compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); return ;;')
    for name, one in every.items():
        if one.words:
            lines.append(f'        {name}) COMPREPLY=($(compgen -W {_listed(one.words)} -- "$word")); return ;;')
    others = [name for name, one in every.items() if not one.words and not one.takes_file]
    lines += [f"        {'|'.join(others)}) return ;;", "    esac", "    case ${COMP_WORDS[1]} in"]
    for command in _named():
        lines.append(f"        {command.name}) words={_listed(_all_names(command))}")
        if command.choices:
            lines.append(f"            [[ $COMP_CWORD == 2 ]] && words+=$'\\n'{_listed(command.choices)}")
        if command.takes_files:
            lines.append("            if [[ $word != -* ]]; then")
            lines.append(
                '                compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); return'
            )
            lines.append("            fi")
        lines.append("            ;;")
    lines += [
        f"        *) words={_listed(_all_names(COMMANDS[0]))}",
        f"            [[ $COMP_CWORD == 1 ]] && words+=$'\\n'{_listed([row.name for row in _named()])} ;;",
        "    esac",
        "    [[ $COMP_CWORD == 1 && $word != -* ]] && words=" + _listed([row.name for row in _named()]),
        '    COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "}",
        "complete -F _interpose interpose",
    ]
    return "\n".join(lines)


def _all_names(command: Command) -> list[str]:
    return [name for one in words_of(command) for name in one.names]


def _listed(words: Sequence[str]) -> str:
    # With a line's end between them, which is the only separator there.
    return "$'" + "\\n".join(words) + "'"


def _zsh() -> str:
    lines = [
        "#compdef interpose",
        '# Completions of interpose for zsh. In ~/.zshrc, behind compinit: eval "$(interpose completions zsh)"',
        "_interpose() {",
        "    local -a commands=(",
        *(f"        {_quoted(f'{row.name}:{row.line}')}" for row in _named()),
        "    )",
        "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then",
        "        _describe command commands",
        "        return",
        "    fi",
        "    case $words[2] in",
    ]
    for command in _named():
        # Its options begin behind the command's own name.
        lines += [f"        {command.name}) shift words; (( CURRENT-- ))", *_zsh_arguments(command), "            ;;"]
    lines += ["        *)", *_zsh_arguments(COMMANDS[0]), "            ;;", "    esac", "}"]
    lines += [
        'if [[ $funcstack[1] == _interpose ]]; then _interpose "$@"; else compdef _interpose interpose; fi',
    ]
    return "\n".join(lines)


def _zsh_arguments(command: Command) -> list[str]:
    specs: list[str] = []
    for one in words_of(command):
        text = one.help.replace("\\", "\\\\").replace("]", "\\]").replace("[", "\\[").replace(":", "\\:")
        value = ""
        if one.words:
            value = f":{one.metavar.replace(':', ' ')}:({' '.join(one.words)})"
        elif one.metavar:
            value = f":{one.metavar.replace(':', ' ')}:{'_files' if one.takes_file else ' '}"
        for name in one.names:
            glued = "=" if one.metavar and name.startswith("--") else ""
            specs.append(_quoted(f"*{name}{glued}[{text}]{value}"))
    if command.choices:
        specs.append(_quoted(f"1:word:({' '.join(command.choices)})"))
    elif command.takes_files:
        specs.append(_quoted("*:file:_files"))
    else:
        specs += [_quoted(f"{number}:address: ") for number in range(1, command.places + 1)]
    return [
        "            _arguments -S \\",
        *(f"                {spec} \\" for spec in specs[:-1]),
        f"                {specs[-1]}",
    ]


def _fish() -> str:
    names = " ".join(row.name for row in _named())
    lines = [
        "# Completions of interpose for fish. In ~/.config/fish/config.fish: interpose completions fish | source",
        "complete -c interpose -f",
    ]
    for row in _named():
        lines.append(f"complete -c interpose -n __fish_is_first_arg -a {row.name} -d {_fish_text(row.line)}")
    for command in COMMANDS:
        seen = f"__fish_seen_subcommand_from {command.name or names}"
        condition = f"-n {_fish_text(seen if command.name else f'not {seen}')}"
        for one in words_of(command):
            spelled = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in one.names)
            value = f" -xa {_fish_text(' '.join(one.words))}" if one.words else " -rF" if one.takes_file else ""
            value = value or (" -x" if one.metavar else "")
            lines.append(f"complete -c interpose {condition} {spelled}{value} -d {_fish_text(one.help)}")
        if command.choices:
            lines.append(f"complete -c interpose {condition} -a {_fish_text(' '.join(command.choices))}")
        elif command.takes_files:
            lines.append(f"complete -c interpose {condition} -F")
    return "\n".join(lines)


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
