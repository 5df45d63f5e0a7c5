"""The text of `interpose --help`. The line of each option stands in its row in `interpose._settings`.

Nothing that costs time is imported here.
"""

from __future__ import annotations

from .._kinds import Switch
from .._settings import GROUPS, Setting

_BEGIN = """\
usage: interpose LISTEN TARGET [options]
       interpose echo [LISTEN]
       interpose demo

Forward every client of LISTEN to TARGET: every byte, both ways.
"interpose echo" is an upstream to try that with: it sends back what it gets (LISTEN: 7070).
"interpose demo" shows one request through a proxy, on this machine only.

addresses:
  9090                         port 9090 of this machine only (127.0.0.1)
  host:9090                    a name or an IPv4 address; 0.0.0.0:9090 is every interface
  [::1]:9090                   an IPv6 address
  unix:/path                   a Unix socket; unix:@name is an abstract one (Linux)
"""

_END = """\
  --version                    show the version
  -h, --help                   show this

SECONDS may have units: 200ms, 10s, 5m, 1h30m. "none" is no limit, where that is possible.
An environment variable says what an option says: INTERPOSE_IDLE_TIMEOUT=10m, INTERPOSE_PUBLIC=yes,
INTERPOSE_SPLICE=no. An option goes before its variable: --no-public and --splice undo these two.

Ctrl-C, SIGTERM or SIGHUP lets connections finish, a second one stops at once.
Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage, 4 cannot listen."""


def help_text() -> str:
    """Return the whole text, without a line's end at its own end."""
    parts = [_BEGIN]
    for group in GROUPS:
        rows = [row for row in group.rows if row.flag]
        if rows:
            parts.append("\n".join([f"{group.title}:", *map(_line_of, rows)]) + "\n")
    # The last group is that of the command itself, which these two belong to.
    return "\n".join(parts) + _END


def _line_of(row: Setting) -> str:
    option = f"{row.short}, {row.flag}" if row.short else row.flag
    usage = f"{option} {row.kind.metavar}".rstrip()
    return f"  {usage:<28} {row.help}{_default_of(row)}"


def _default_of(row: Setting) -> str:
    if isinstance(row.kind, Switch):
        return ""
    shown = row.shown_default
    return f" (default: {shown})" if " " in shown else f" (default {shown})"
