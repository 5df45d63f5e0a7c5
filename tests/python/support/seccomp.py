"""System calls that this process and all its threads are refused from some time on, with seccomp(2)."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# The calls' numbers, and that of seccomp(2).
NUMBERS = {
    "x86_64": {
        "connect": 42, "getsockopt": 55, "recvfrom": 45, "seccomp": 317, "sendto": 44, "shutdown": 48,
        "socket": 41, "splice": 275,
    },
    "aarch64": {
        "connect": 203, "getsockopt": 209, "recvfrom": 207, "seccomp": 277, "sendto": 206, "shutdown": 210,
        "socket": 198, "splice": 76,
    },
}.get(os.uname().machine if sys.platform == "linux" else "", {})  # fmt: skip

_NO_NEW_PRIVS, _FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERROR, _ALLOW = 0x50000, 0x7FFF0000
# Where the third argument is in what a filter looks at: an option's number for getsockopt(2), socket(2)'s protocol.
_THIRD = 32


def refuse(call: str, error: int, third: int | None = None) -> bool:
    """Refuse a call, or only with that third argument, from now on. False where the system offers no filters."""
    tests = [(0, NUMBERS[call])] if third is None else [(0, NUMBERS[call]), (_THIRD, third)]
    lines: list[tuple[int, int, int, int]] = []
    for left, (place, value) in zip(reversed(range(len(tests))), tests, strict=True):
        lines += [(_LOAD, 0, 0, place), (_EQUAL, 0, 2 * left + 1, value)]
    lines += [(_RETURN, 0, 0, _ERROR | error), (_RETURN, 0, 0, _ALLOW)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return bool(libc.syscall(NUMBERS["seccomp"], _FILTER, _ALL_THREADS, program) == 0)
