"""`interpose LISTEN TARGET`: forward every client."""

from __future__ import annotations

from collections.abc import Sequence

from .parsing import parse
from .serving import serve


def run(words: Sequence[str]) -> int:
    """Serve until a signal ends it, and return the exit code."""
    options = parse(words)
    return serve(options.listeners, options.command)
