"""Output of a callback's own that is gone, such as a closed pipe: printing traffic must not end it."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from typing import Any

from ._exceptions import InterposeError

# No socket answers with these: a file is full, or a terminal is gone.
_OF_FILES = {errno.ENOSPC, errno.EFBIG, errno.EIO, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else [])}
_OF_PEERS = {errno.EPIPE, errno.ECONNRESET, errno.EBADF}


def lost_output(error: BaseException) -> str:
    """Return one line about the output that `error` says is gone, or "" if it says something else.

    A pipe that nobody reads any more is replaced by the null device, as Python's documentation recommends: what is
    printed from then on goes nowhere, at the exit as well.
    """
    if isinstance(error, InterposeError) or not isinstance(error, (OSError, ValueError)):
        return ""
    if isinstance(error, OSError) and error.errno in _OF_FILES:
        return "its own output has no room, or is gone"
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        try:
            if _is_gone(stream, error):
                return f"sys.{name} is gone, and what is printed goes nowhere"
        except (OSError, ValueError, AttributeError):
            continue  # Not a file, so it is not what the system has failed on.
    return ""


def _is_gone(stream: Any, error: OSError | ValueError) -> bool:
    """Return whether every later write to `stream` raises `error` too."""
    if not isinstance(error, OSError):
        return bool(stream.closed) and "closed file" in str(error)
    descriptor: int = stream.fileno()
    if error.errno == errno.EAGAIN:
        return not os.get_blocking(descriptor) and not _events(descriptor) & select.POLLOUT
    if error.errno not in _OF_PEERS or not _events(descriptor) & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
        return False
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
    return True


def _events(descriptor: int) -> int:
    if not hasattr(select, "poll"):
        return 0
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return next((events for _, events in poll.poll(0)), 0)


def say_aside(line: str) -> None:
    """Write a line to standard error if that cannot block; else drop it."""
    try:
        stream: Any = sys.__stderr__
        descriptor: int = stream.fileno()
        # A line that fits into the room of a pipe is written at once. A pipe without a reader has room, too: SIGPIPE.
        if _events(descriptor) & (select.POLLOUT | select.POLLERR | select.POLLHUP) == select.POLLOUT:
            os.write(descriptor, f"{line}\n".encode()[: select.PIPE_BUF])
    except (OSError, ValueError, AttributeError):
        return
