"""The capture of the command: its settings, made a filter."""

from __future__ import annotations

import sys
import weakref

from .. import filters
from .._exceptions import ConfigError
from .._groups import Capturing

# A listener that is bound anew goes on in the file that it has.
_open: weakref.WeakValueDictionary[Capturing, filters.Capture] = weakref.WeakValueDictionary()


def captures_of(capture: Capturing) -> list[filters.Filter]:
    """Return the filter that `capture` means, or raise ConfigError."""
    if capture.file is None:
        raise ConfigError("--capture: the file is missing, and other options of it are given; add --capture FILE")
    if capture.file == "-" and sys.stdout is not None and sys.stdout.isatty():
        raise ConfigError("--capture -: standard output is a terminal; write interpose ... | wireshark -k -i -")
    made = _open.get(capture)
    if made is None:
        try:
            made = filters.Capture(
                capture.file,
                snaplen=capture.snaplen,
                rotate_size=capture.rotate_size,
                rotate_seconds=capture.rotate_seconds,
                rotate_keep=capture.rotate_keep,
                sides=capture.sides,
            )
        except ConfigError as error:
            raise ConfigError(f"--{error}") from error
        _open[capture] = made
    return [made]
