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

    `choices` are the values that it may have, `short` is another name of one letter.
    """

    def __init__(
        self,
        flag: str,
        help: str,  # noqa: A002 (what it is everywhere else)
        *,
        metavar: str = "",
        short: str = "",
        choices: Sequence[str] = (),
    ) -> None:
        self.flag = flag
        self.help = help
        self.metavar = metavar
        self.short = short
        self.choices = tuple(choices)


class Command:
    """A row. `name` is the first word, empty for the command that forwards; `module` the file in this folder.

    * `usage`: the words behind `interpose NAME`.
    * `line`: what it does, in one line of help without its dot.
    * `details`: more paragraphs, for `interpose NAME --help`.
    * `options`: its own options. With `settings` it takes those of the table of settings, too.
    * `places`: how many words without a hyphen it takes at most.
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
    ) -> None:
        self.name = name
        self.module = module or name
        self.usage = usage
        self.line = line
        self.details = details
        self.options = tuple(options)
        self.settings = settings
        self.places = places

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
    Command("demo", "", "one request through a proxy, on this machine only"),
]


def command_of(words: Sequence[str]) -> Command:
    """Return the row of the subcommand that `words` begin with; else that of the command that forwards."""
    first = words[0] if words else ""
    return next((row for row in COMMANDS if row.name and row.name == first), FORWARD)
