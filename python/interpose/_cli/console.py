"""The command's words on standard output and standard error, and its exit codes."""

from __future__ import annotations

import os
import sys

# The queue is imported when it is needed: --help must not wait for it. Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from .output import Outputs

OK, FAILED, USAGE, CANNOT_BIND = 0, 1, 2, 4

# Set while the command serves: then output goes through a queue, because no reader may hold up the end.
_outputs: Outputs | None = None
# Set while the command logs in another form than the plain one.
_form: Callable[[str], str] | None = None


def say(text: str) -> None:
    """Print a line. A closed pipe or terminal is no error."""
    if _outputs is None:
        _write(sys.stdout, text)
    elif _outputs.out:
        _outputs.out.put(text)


def complain(text: str, *excerpt: str) -> None:
    """Print one line, inert, on stderr; below it an `excerpt` of what it is about."""
    from .._exceptions import printable

    line = "\n".join([printable(f"interpose: {text}"), *map(printable, excerpt)])
    if _form is not None:
        line = _form(" | ".join(map(printable, (text, *excerpt))))
    if _outputs is None:
        _write(sys.stderr, line)
    elif _outputs.err:
        _outputs.err.put(line)


def show_traceback(error: Exception) -> None:
    """Show `error` whole on stderr; while no words go through a queue, raise it instead."""
    if _outputs is None:
        raise error
    import traceback

    if _outputs.err:
        _outputs.err.put("".join(traceback.format_exception(error)).rstrip())


def complain_as(form: Callable[[str], str] | None) -> None:
    """Write complaints in another form from here on: as `form` returns them."""
    global _form
    _form = form


def take_output() -> Outputs:
    """Queue all output from here on, so that no reader holds up the command; return the queues."""
    global _outputs
    from .output import Outputs, keep_standard_descriptors

    keep_standard_descriptors()
    _outputs = Outputs()
    return _outputs


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    # A terminal that cannot show a character gets an escape, not a traceback.
    encoding = stream.encoding or "ascii"
    line = text.encode(encoding, "backslashreplace") + b"\n"
    try:
        try:
            descriptor = stream.fileno()
        except ValueError:  # in memory: a Python program calls the command
            stream.write(line.decode(encoding))
            return
        # Not through the stream: after Ctrl-C its buffer would have to wait for the reader that was too slow.
        stream.flush()
        while line:
            line = line[os.write(descriptor, line) :]
    except (OSError, ValueError):
        pass


def finish() -> None:
    """Wait for the last words that were said, half a second at most, and go back to plain ones."""
    global _outputs
    if _outputs is not None:
        _outputs.finish()
        _outputs = None
    # The interpreter flushes once more at exit and would turn a reader that has gone into exit code 120.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
