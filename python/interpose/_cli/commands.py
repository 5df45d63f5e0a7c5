"""The table of the command's subcommands: one row each. A new subcommand is a row here, and a module with `run(words)`.

From a row come the dispatch, `interpose --help`, `interpose NAME --help`, the answers to slips, and the completions.
The rows are plain data: nothing that costs time is imported here.
"""

from __future__ import annotations

# Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Option:
    """An option of one subcommand. `metavar` stands for its value; without one the option takes none.

    `choices` are the values that it may have, `short` is another name of one letter. One that `repeats` may be given
    more than once.
    """

    def __init__(
        self,
        flag: str,
        help: str,  # noqa: A002 (what it is everywhere else)
        *,
        metavar: str = "",
        short: str = "",
        choices: Sequence[str] = (),
        repeats: bool = False,
    ) -> None:
        self.flag = flag
        self.help = help
        self.metavar = metavar
        self.short = short
        self.choices = tuple(choices)
        self.repeats = repeats


class Command:
    """A row. `name` is the first word, empty for the command that forwards; `module` the file in this folder.

    * `usage`: the words behind `interpose NAME`.
    * `line`: what it does, in one line of help without its dot.
    * `details`: more paragraphs, for `interpose NAME --help`.
    * `options`: its own options. With `settings` it takes those of the table of settings, too.
    * `places`: how many words without a hyphen it takes at most. `choices`: what the first may be; `takes_files`: they
      are names of files.
    """

    def __init__(
        self,
        name: str,
        usage: str,
        line: str,
        *,
        module: str = "",
        details: str = "",
        options: Sequence[Option] = (),
        settings: bool = False,
        places: int = 0,
        choices: Sequence[str] = (),
        takes_files: bool = False,
    ) -> None:
        self.name = name
        self.module = module or name
        self.usage = usage
        self.line = line
        self.details = details
        self.options = tuple(options)
        self.settings = settings
        self.places = places
        self.choices = tuple(choices)
        self.takes_files = takes_files

    @property
    def written(self) -> str:
        """The command line as one writes it, with what stands for its words."""
        return " ".join(filter(None, ("interpose", self.name, self.usage)))


FORWARD = Command(
    "",
    "LISTEN TARGET [options]",
    "forward every client of LISTEN to TARGET: every byte, both ways",
    module="forward",
    settings=True,
    places=2,
)
# The other form of that.
WITH_FILE = "interpose --config FILE [options]"
COMMANDS = [
    FORWARD,
    Command(
        "echo",
        "[LISTEN]",
        "an upstream to try that with: it sends back what it gets (LISTEN: 7070)",
        places=1,
    ),
    Command(
        "inspect",
        "FILE [options]",
        "list the connections of a capture (pcapng, pcap), or extract their bytes",
        details="FILE is - for standard input. A file that is cut off is shown as far as it is whole.",
        options=(
            Option("--connection", "only the connection with this number", metavar="N", short="-c"),
            Option("--hexdump", "show the bytes as hexadecimal digits and as text"),
            Option("--text", "show the bytes as lines of text"),
            Option("--json", "show what happened as JSON, an object a line"),
            Option("--width", "bytes of a line of --hexdump", metavar="N"),
            Option("--truncate", "bytes shown of one packet or message", metavar="SIZE"),
            Option("--framing", "show whole messages: resp, postgres, lines ...", metavar="PROTOCOL"),
            Option(
                "--extract",
                "write the bytes into files of this folder, one for each direction",
                metavar="DIR",
            ),
        ),
        places=1,
        takes_files=True,
    ),
    Command(
        "record",
        "LISTEN TARGET FILE [options]",
        "forward, and record what passes into FILE, for a replay",
        details="""\
FILE is made anew, for you alone. Ctrl-C ends the record. It takes all options of
interpose LISTEN TARGET, too.""",
        settings=True,
        places=3,
    ),
    Command(
        "replay",
        "FILE [LISTEN | TARGET] [options]",
        "play the server of a record to a client, or its clients to a server",
        details="""\
As server it listens on LISTEN (any free port), and ends when all was played, or when no client has
come for the timeout since the last one. As client it plays to TARGET. What the other side sends is
compared: the exit code is 1, with a line for each connection, where it is not as in the record.""",
        options=(
            Option("--as", "the side that is played (server)", metavar="ROLE", choices=("server", "client")),
            Option(
                "--match",
                "how clients get their conversation (order)",
                metavar="HOW",
                choices=("order", "bytes"),
            ),
            Option(
                "--timing",
                "answer at once, or as slowly as then (lockstep)",
                metavar="WHEN",
                choices=("lockstep", "recorded"),
            ),
            Option("--mask", "bytes that may differ; may be repeated", metavar="REGEX", repeats=True),
            Option("--timeout", "how long a wait for the other side may last (10s)", metavar="SECONDS"),
        ),
        places=2,
        takes_files=True,
    ),
    Command("demo", "", "one request through a proxy, on this machine only"),
    Command(
        "check",
        "LISTEN TARGET | --config FILE [options]",
        "say whether that would do, and serve nothing",
        details="""\
Everything is read and validated, names are looked up, and LISTEN has to be free, or to be that of a
process which serves the same file. It takes all options of interpose LISTEN TARGET, too. The exit
code is 0 if all is right, 1 if a name, LISTEN or a target is wrong, and 2 if the words or the file
are.""",
        options=(
            Option("--connect", "connect to the targets, and say what answers"),
            Option("--explain", "show every setting, with its value and where that was given"),
        ),
        settings=True,
        places=2,
    ),
    Command(
        "doctor",
        "[--json]",
        "what this system allows a proxy, and what to do where that is little",
        options=(Option("--json", "say it as JSON"),),
    ),
    Command(
        "ca",
        "[show | export [--der FILE] | trust]",
        "the authority of this user, for --intercept",
        details="""\
It is made at its first use, in one file that this user alone may read. show says where that is,
export prints its certificate as PEM, and trust says how programs come to trust it, and how not to
any longer.""",
        options=(Option("--der", "with export: write it there as DER", metavar="FILE"),),
        places=1,
        choices=("show", "export", "trust"),
    ),
    Command(
        "completions",
        "bash|zsh|fish",
        "what these shells complete",
        details="""\
bash: eval "$(interpose completions bash)"     in ~/.bashrc
zsh:  eval "$(interpose completions zsh)"      in ~/.zshrc, behind compinit
fish: interpose completions fish | source      in ~/.config/fish/config.fish""",
        places=1,
        choices=("bash", "zsh", "fish"),
    ),
    Command(
        "scripts",
        "[list | show NAME]",
        "ready scripts for --script; show prints one to be copied",
        places=2,
        choices=("list", "show"),
    ),
]


def command_of(words: Sequence[str]) -> Command:
    """Return the row of the subcommand that `words` begin with; else that of the command that forwards."""
    first = words[0] if words else ""
    return next((row for row in COMMANDS if row.name and row.name == first), FORWARD)
