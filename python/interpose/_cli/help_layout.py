"""The text of `interpose --help`. The line of each option stands in its row in `interpose._settings_and_help`.

Nothing that costs time is imported here.
"""

from __future__ import annotations

from .._kinds import Switch
from .._settings_and_help import GROUPS, Setting
from .commands import COMMANDS, FORWARD, WITH_FILE, Command

_ADDRESSES = """\
addresses:
  9090                         port 9090 of this machine only (127.0.0.1)
  host:9090                    a name or an IPv4 address; 0.0.0.0:9090 is every interface
  localhost:9090               both loopbacks of this machine: 127.0.0.1 and [::1]
  db:postgresql                the port by its name, as /etc/services has it
  [::1]:9090                   an IPv6 address
  unix:/path                   a Unix socket; unix:@name is an abstract one (Linux)
  fd:3                         LISTEN only: a socket that the process was started with
"""

_END = """\
  --version                    show the version
  -h, --help                   show this

SECONDS may have units: 200ms, 10s, 5m, 1h30m. "none" is no limit, where that is possible.
An environment variable says what an option says: INTERPOSE_IDLE_TIMEOUT=10m, INTERPOSE_PUBLIC=yes,
INTERPOSE_SPLICE=no. A file says it by group and name: timeouts.idle = "10m". An option goes before
its variable, that before the file: --no-public and --splice undo what the other two may say.

Ctrl-C, SIGTERM or SIGHUP lets connections finish, a second one stops at once. With --config
or scripts, SIGHUP reads the files again. SIGUSR1 lists the connections, SIGUSR2 counts them.
"""
_EXIT_CODES = "Exit codes: 0 done or stopped as asked, 1 failed while running, 2 wrong usage, 4 cannot listen."


def help_text(command: Command = FORWARD) -> str:
    """Return the whole text of `command`, without a line's end at its own end."""
    if command is not FORWARD:
        return _of_one(command)
    usages = [f"usage: {FORWARD.written}", f"       {WITH_FILE}"]
    usages += [f"       {row.written}" for row in COMMANDS if row.name]
    lines = [f"{FORWARD.line[0].upper()}{FORWARD.line[1:]}."]
    lines += [f'"interpose {row.name}": {row.line}.' for row in COMMANDS if row.name]
    parts = ["\n".join(usages) + "\n", "\n".join(lines) + "\n", _ADDRESSES]
    for group in GROUPS:
        rows = [row for row in group.rows if row.flag]
        if rows:
            parts.append("\n".join([f"{group.title}:", *map(_line_of, rows)]) + "\n")
    # The last group is that of the command itself, which these two belong to.
    return "\n".join(parts) + _END + _EXIT_CODES


def _of_one(command: Command) -> str:
    parts = [f"usage: {command.written}", f"{command.line[0].upper()}{command.line[1:]}."]
    if command.details:
        parts.append(command.details)
    shown = [(f"{row.short}, " if row.short else "") + f"{row.flag} {row.metavar}".rstrip() for row in command.options]
    lines = [f"  {usage:<28} {row.help}" for usage, row in zip(shown, command.options, strict=True)]
    parts.append("\n".join(["options:", *lines, f"  {'-h, --help':<28} show this"]))
    parts.append(_EXIT_CODES)
    return "\n\n".join(parts)


def _line_of(row: Setting) -> str:
    option = f"{row.short}, {row.flag}" if row.short else row.flag
    usage = f"{option} {row.kind.metavar}".rstrip()
    return f"  {usage:<28} {row.help}{_default_of(row)}"


def _default_of(row: Setting) -> str:
    if isinstance(row.kind, Switch):
        return ""
    shown = row.shown_default
    return f" (default: {shown})" if " " in shown else f" (default {shown})"
