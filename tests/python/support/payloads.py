"""Large random files, their digests, and streams that are hashed instead of kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .processes import Child

MEBIBYTE = 1 << 20


def random_file(path: Path, size: int) -> str:
    """Fill *path* with *size* random bytes; their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        left = size
        while left:
            block = os.urandom(min(left, MEBIBYTE))
            file.write(block)
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def output_digest(argv: Sequence[str], folder: Path, *, seconds: float, stdin: Path | None = None) -> str:
    """Run to the end; the SHA-256 of standard output. A failure shows the error output."""
    digest = hashlib.sha256()
    with (
        (stdin or Path(os.devnull)).open("rb") as source,
        Child(argv, folder, stdin=source, stdout=subprocess.PIPE) as child,
    ):
        stream = child.popen.stdout
        assert stream is not None
        while block := stream.read(MEBIBYTE):
            digest.update(block)
        assert child.wait(seconds) == 0, child.output()
    return digest.hexdigest()
