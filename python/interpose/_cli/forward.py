"""`interpose LISTEN TARGET`: forward every client."""

from __future__ import annotations

from collections.abc import Sequence

from .combinations import check as check_combinations
from .given import groups_of
from .parsing import Options, parse
from .served import Companion, Served
from .serving import serve


def run(words: Sequence[str]) -> int:
    """Serve until a signal ends it, and return the exit code."""
    options = parse(words)
    check_combinations(options.listeners, options.command, options.values, has_file=options.again is not None)
    served = Served(options.listeners, options.command.drain, _api_of(options))
    if options.again is None:
        return serve(served, options.command)
    from .reloader import Reloader

    return serve(served, options.command, Reloader(served, options).reload)


def _api_of(options: Options) -> Companion | None:
    if options.command.toxiproxy_api is None:
        return None
    # Nothing of HTTP is imported without it.
    from .toxiproxy import ApiListener

    return ApiListener(options.command.toxiproxy_api, groups_of(options.values)["faults"].seed)
