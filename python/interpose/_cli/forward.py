"""`interpose LISTEN TARGET`: forward every client."""

from __future__ import annotations

from collections.abc import Sequence

from .parsing import parse
from .served import Served
from .serving import serve


def run(words: Sequence[str]) -> int:
    """Serve until a signal ends it, and return the exit code."""
    options = parse(words)
    served = Served(options.listeners, options.command.drain)
    if options.again is None:
        return serve(served, options.command)
    from .reloader import Reloader

    return serve(served, options.command, Reloader(served, options).reload)
