"""The capture of the command: its settings, made a filter."""

from __future__ import annotations

import sys
import weakref

from .. import filters
from .._exceptions import ConfigError
from .._groups import Capturing
from .._settings_and_help import rows_of
from .combinations import STANDARD_OUTPUT
from .looking import refuse_unwritable

# A listener that is bound anew goes on in the file that it has.
_open: weakref.WeakValueDictionary[Capturing, filters.Capture] = weakref.WeakValueDictionary()


def captures_of(capture: Capturing) -> list[filters.Filter]:
    """Return the filter that `capture` means, or raise ConfigError."""
    file = _checked(capture)
    if file == "-" and sys.stdout is not None and sys.stdout.isatty():
        raise ConfigError("--capture -: standard output is a terminal; write interpose ... | wireshark -k -i -")
    made = _open.get(capture)
    if made is None:
        try:
            made = filters.Capture(
                file,
                snaplen=capture.snaplen,
                rotate_size=capture.rotate_size,
                rotate_seconds=capture.rotate_seconds,
                rotate_keep=capture.rotate_keep,
                sides=capture.sides,
                keys=capture.keys,
            )
        except ConfigError as error:
            raise ConfigError(_as_option(f"{error}")) from error
        _open[capture] = made
    return [made]


def _as_option(error: str) -> str:
    """Return an error of Capture() with the option of the argument that it begins with."""
    name, _, rest = error.partition(":")
    return next((f"{row.flag}:{rest}" for row in rows_of("capture") if row.name == name), f"--{error}")


def check_capture(capture: Capturing) -> None:
    """Raise ConfigError where captures_of() would, and open no file."""
    file = _checked(capture)
    if file != STANDARD_OUTPUT:
        refuse_unwritable("--capture", file)


def _checked(capture: Capturing) -> str:
    """Return the file, or raise ConfigError."""
    if capture.file is None:
        default = Capturing()
        given = [row.flag for row in rows_of("capture") if getattr(capture, row.name) != getattr(default, row.name)]
        raise ConfigError(f"{given[0]}: it is about a capture, and there is none; add --capture FILE")
    if capture.rotate_keep is not None and capture.rotate_size is None and capture.rotate_seconds is None:
        raise ConfigError("--capture-keep: no file is begun anew; add --capture-rotate-size or --capture-rotate-after")
    return capture.file
