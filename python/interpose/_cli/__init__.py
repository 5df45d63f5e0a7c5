"""The command `interpose`."""

from __future__ import annotations

import sys

# Nothing that costs time is imported up here: --help must not wait for it.
from .console import CANNOT_BIND, FAILED, OK, USAGE, complain, finish, say, show_traceback, take_output

_ECHO_DRAIN_SECONDS = 1.0


def main(argv: list[str] | None = None) -> int:
    """Run the command with `argv` (None: the process's own) and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(words)
    except KeyboardInterrupt:
        return OK
    except Exception as error:  # noqa: BLE001 (what is not ours is raised again, or shown whole)
        return _failed(error)
    finally:
        finish()


def _run(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        from .help import help_text

        say(help_text())
        return OK
    if "--version" in words:
        from .._native import version

        say(f"interpose {version}")
        return OK
    if words == ["demo"]:
        from .demo import run

        take_output()
        return run()
    if words[:1] == ["echo"]:
        return _echo(words[1:])
    return _forward(words)


def _failed(error: Exception) -> int:
    """Say what went wrong and return the exit code. An error that is not ours is a defect: it gets its traceback."""
    from .._exceptions import AddressError, ArgumentTypeError, BindError, ConfigError, InterposeError, ResolveError

    code = FAILED
    if isinstance(error, BindError | ResolveError):
        code = CANNOT_BIND
    elif isinstance(error, AddressError | ArgumentTypeError | ConfigError):
        code = USAGE
    elif not isinstance(error, InterposeError):
        show_traceback(error)
        return code
    complain(str(error))
    return code


def _forward(words: list[str]) -> int:
    from .._addresses import address_text
    from .parsing import parse
    from .serving import serve

    options = parse(words)
    what = f"forwarding to {address_text(options.forward.address)}"
    return serve(options.bind, what, options.command)


def _echo(words: list[str]) -> int:
    from .._groups import CommandSettings
    from .echo import EchoServer
    from .parsing import parse_echo
    from .serving import serve

    listen = parse_echo(words)
    return serve(lambda: EchoServer(listen), "sending back what comes", CommandSettings(drain=_ECHO_DRAIN_SECONDS))


__all__ = ["CANNOT_BIND", "FAILED", "OK", "USAGE", "main"]
