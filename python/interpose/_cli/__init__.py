"""The command `interpose`."""

from __future__ import annotations

import sys

# Nothing that costs time is imported up here: --help must not wait for it.
from .commands import command_of
from .console import CANNOT_BIND, FAILED, OK, USAGE, complain, finish, say, show_traceback


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
    command = command_of(words)
    if "-h" in words or "--help" in words:
        from .help_layout import help_text

        say(help_text(command))
        return OK
    if "--version" in words:
        from .._native import version

        say(f"interpose {version}")
        return OK
    from importlib import import_module

    module = import_module(f".{command.module}", __package__)
    code: int = module.run(words[1:] if command.name else words)
    return code


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
    complain(str(error), *getattr(error, "excerpt", ()))
    return code


__all__ = ["CANNOT_BIND", "FAILED", "OK", "USAGE", "main"]
