"""The text of a script: of a file, of a ready script by its name, or of the command line; and the place of an error."""

from __future__ import annotations

import difflib
import linecache
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TypeAlias

from ..._exceptions import ConfigError, printable

READY = Path(__file__).resolve().parents[2] / "scripts"
"""The folder of the ready scripts."""

# The most of a script: what is larger is no script, such as a device or the wrong file.
_MOST_BYTES = 4 * 1024 * 1024


Stamp: TypeAlias = tuple[int, int, int] | None
"""Two versions of a file differ in one of these numbers."""


class ScriptError(ConfigError):
    """A script cannot be loaded. The text is one line; what was raised is its cause.

    `files` are those in which the fault may be.
    """

    files: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a script. `name` is how errors call it; without a `path`, `code` is the text."""

    name: str
    path: Path | None = None
    code: str = ""

    @property
    def file(self) -> str:
        """The name that tracebacks have for it."""
        return str(self.path) if self.path else f"<{self.name}>"

    @property
    def folder(self) -> Path | None:
        """The folder whose modules it may import; None for a ready script, which has none beside it."""
        if self.path is None:
            return Path.cwd()
        return None if self.path.parent == READY else self.path.parent

    @property
    def stem(self) -> str:
        """Its name without folder and ending."""
        return self.path.stem if self.path else self.name

    def compiled(self) -> CodeType:
        """Read and compile it. Raises ScriptError."""
        text = self.code.encode("utf-8", "surrogateescape") if self.path is None else self._read(self.path)
        if self.path is None:
            lines = [f"{line}\n" for line in self.code.splitlines()]
            linecache.cache[self.file] = (len(self.code), None, lines, self.file)
        self._refuse_binary(text)
        try:
            return compile(text, self.file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise failed(self, error) from error

    def _refuse_binary(self, text: bytes) -> None:
        """Raise ScriptError for what is no text, of which the compiler would say something else."""
        if b"\0" in text:
            raise ScriptError(printable(f"--script {self.name}: it is a binary file; give a text file of Python"))
        # A first line may say another encoding (PEP 263).
        if any(b"coding" in line for line in text.split(b"\n", 2)[:2]):
            return
        try:
            text.decode()
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            raise ScriptError(
                printable(f"{self.name}:{line}: byte {text[error.start]:#x} is no UTF-8; save it as UTF-8")
            ) from error

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES + 1)
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            advice = "give the file itself" if path.is_dir() else "give a file that can be read"
            raise ScriptError(printable(f"--script {self.name}: it cannot be read ({why}); {advice}")) from error
        if len(text) > _MOST_BYTES:
            raise ScriptError(printable(f"--script {self.name}: it has more than 4 MiB; give a file of Python"))
        return text


def stamp_of(file: Path) -> Stamp:
    """Return what tells this version of a file from another; None for one that is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def of_code(code: str) -> Source:
    """Return the script that `-c` has."""
    return Source("-c", None, code)


def of_text(text: str) -> Source:
    """Return the script that `--script` names: a file, else a ready one by its name. Raises ScriptError for neither."""
    path = Path(text)
    ready = ready_names()
    name = text.replace("-", "_")
    is_name = path.name == text and path.suffix != ".py"
    if is_name and name in ready and not path.is_file():
        return Source(name, READY / f"{name}.py")
    if not text or "\0" in text:
        raise ScriptError("--script: its name is empty; give a file, or a ready one: see interpose scripts")
    if path.exists():
        return Source(text, path.absolute())
    raise ScriptError(printable(f"--script {text}: there is no such file; {_advice(path, ready, is_name=is_name)}"))


def ready_names() -> list[str]:
    """Return the names of the ready scripts."""
    return sorted(file.stem for file in READY.glob("*.py") if file.stem != "__init__")


def _advice(path: Path, ready: Iterable[str], *, is_name: bool) -> str:
    names = [*ready] if is_name else []
    try:
        names += [str(path.parent / file.name) for file in path.parent.glob("*.py")]
    except OSError:
        pass
    near = difflib.get_close_matches(str(path).replace("-", "_") if is_name else str(path), names, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    return "give one, or a ready one by its name: see interpose scripts"


def failed(source: Source, error: BaseException, files: Iterable[Path] = (), what: str = "") -> ScriptError:
    """Return the error of a script that could not be loaded, with its place: one line. `what` is what was done then."""
    if isinstance(error, ScriptError):
        return error
    if isinstance(error, SystemExit):
        why = f"it exits{what or ' while it is loaded'} (SystemExit: {error.code}); return instead"
    elif isinstance(error, SyntaxError):
        why = f"{type(error).__name__}: {error.msg}"
    else:
        text = str(error).partition("\n")[0]
        why = f"{type(error).__name__}: {text}{what}" if text else f"{type(error).__name__}{what}"
    found = ScriptError(printable(f"{place_of(source, error, files)}: {why}"))
    found.files = frozenset(_files_of(source, error))
    return found


def _files_of(source: Source, error: BaseException) -> Iterator[Path]:
    """Return the files beside the script in which the fault may be, also one that is missing."""
    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        names.append(error.filename)
    if isinstance(error, ModuleNotFoundError) and error.name and source.folder:
        names.append(str(source.folder / f"{error.name.partition('.')[0]}.py"))
    for path in {Path(name) for name in names}:
        if source.path == path or (source.folder is not None and source.folder in path.parents):
            yield path


def place_of(source: Source, error: BaseException, files: Iterable[Path] = ()) -> str:
    """Return file and line of an error: the last line of the script, or of a module beside it, that was running."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        file = error.filename or source.file
        return f"{source.name if file == source.file else _short(file)}:{error.lineno}"
    ours = {source.file, *map(str, (*files, *_files_of(source, error)))}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in ours]
    if not frames:
        return source.name
    last = frames[-1]
    return f"{source.name if last.filename == source.file else _short(last.filename)}:{last.lineno}"


def place_of_function(source: Source, function: Callable[..., object]) -> str:
    """Return file and line of a function of the script."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename != source.file:
        return source.name
    return f"{source.name}:{code.co_firstlineno}"


def _short(file: str) -> str:
    try:
        relative = os.path.relpath(file)
    except ValueError:
        return file
    return file if relative.startswith("..") else relative
