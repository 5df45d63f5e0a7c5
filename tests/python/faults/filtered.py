"""Runs a program whose calls of some numbers are answered by its parent: `filtered.py FOLDER NUMBER,... PROGRAM ...`.

The filter notifies (seccomp_unotify(2)); the parent takes its descriptor while this process is stopped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(numbers: list[int]) -> int:
    """Install the filter, for this process and all it starts; return its descriptor."""
    lines = [(_LOAD, 0, 0, 0)]
    for at, number in enumerate(numbers):
        lines.append((_EQUAL, len(numbers) - at, 0, number))
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    text = b"".join(struct.pack("HBBI", *line) for line in lines)
    buffer = ctypes.create_string_buffer(text)
    program = _Program(len(lines), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    fd = int(libc.syscall(_SYS_SECCOMP[os.uname().machine], _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program)))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return fd


def main() -> None:
    """Install the filter, stop until the parent has it, and become the program."""
    folder, numbers, *program = sys.argv[1:]
    note = Path(folder) / "filter"
    # Before there is a filter that could hold up the writing.
    fd_expected = os.open(os.devnull, os.O_RDONLY)
    os.close(fd_expected)
    (note.with_suffix(".part")).write_text(f"{os.getpid()} {fd_expected}")
    fd = install([int(number) for number in numbers.split(",")])
    assert fd == fd_expected, (fd, fd_expected)
    note.with_suffix(".part").rename(note)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
