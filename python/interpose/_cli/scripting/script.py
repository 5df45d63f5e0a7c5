"""One loaded script: its hooks, framing, filters and options, and the files it came from."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO, cast

import interpose

from ..._exceptions import InterposeError, printable
from ..._framing_pair import FramingFor, framings_of
from ..._groups import Relay
from ..._hooks import HOOKS, check
from ..._names import HOOKS as OTHERS
from ..._names import is_alias, nearest
from .source import ScriptError, Source, failed, place_of_function, stamp_of
from .values import Given, settled

_numbers = itertools.count(1)
# Modules that scripts have imported from their own folders, by the names that the interpreter has for them.
_beside: set[str] = set()
# The standard output before a script has put the stream of this number in its place.
_before: dict[int, TextIO] = {}
_logger = logging.getLogger("interpose.script")


class Script:
    """A script that was run once, and whose load() has returned."""

    def __init__(self, source: Source, given: Sequence[Given]) -> None:
        self.source = source
        # Before it is read: a change that comes meanwhile is seen later.
        self.stamps = {source.path: stamp_of(source.path)} if source.path else {}
        self.files: set[Path] = set(self.stamps)
        self._module = ModuleType(f"interpose_script_{source.stem}_{next(_numbers)}")
        self._module.__file__ = source.file
        self.hooks: dict[str, Callable[..., Any]] = {}
        self.framing: FramingFor = None
        self.filters: list[Any] = []
        self.options: dict[str, object] = {}
        # What it has put in the place of standard output.
        self._stream: TextIO | None = None
        code = source.compiled()
        if source.path is None:
            # One line has no room for imports.
            vars(self._module).update({name: getattr(interpose, name) for name in interpose.__all__})
        with self._errors(), _importing(source.folder):
            try:
                # A dataclass, and what is pickled, looks its module up there.
                sys.modules[self._module.__name__] = self._module
                with self._output():
                    exec(code, vars(self._module))
            finally:
                self.files |= _files_beside(source.folder)
        try:
            self._read(given)
        except BaseException:
            self._forget()
            raise

    def unload(self) -> None:
        """Call the function of that name that it has, if it has one. Raises ScriptError."""
        with self._errors(" in unload()"):
            unload: Any = vars(self._module).get("unload")
            if callable(unload):
                unload()
        self._forget()

    def _forget(self) -> None:
        sys.modules.pop(self._module.__name__, None)
        if self._stream is not None and sys.stdout is self._stream:
            sys.stdout = _before.pop(id(self._stream))

    @contextmanager
    def _output(self) -> Generator[None]:
        """Notice that the script puts another stream in the place of standard output."""
        before = sys.stdout
        yield
        if sys.stdout is not before:
            self._stream = sys.stdout
            _before[id(sys.stdout)] = _before.get(id(before), before)
            _logger.warning(
                "script %s: it has put another stream in the place of sys.stdout; what it prints goes there, "
                "and may wait there",
                self.source.name,
            )

    def _read(self, given: Sequence[Given]) -> None:
        names = vars(self._module)
        self._check_slips(names)
        for name in HOOKS:
            if names.get(name) is not None:
                self.hooks[name] = self._hook(name, names[name])
        self.framing = self._framing(names.get("framing"))
        self.filters = self._filters(names.get("filters"))
        self.options = self._options(names, given)
        load: Any = names.get("load")
        if load is not None:
            self._load(load)
        if not (self.hooks or self.filters or self.framing or load):
            raise ScriptError(
                printable(
                    f"{self.source.name}: it has no hook; write one, such as def on_recv(side, data): print(data)"
                )
            )

    def _hook(self, name: str, callback: object) -> Callable[..., Any]:
        try:
            return check(name, callback)
        except InterposeError as error:
            place = place_of_function(self.source, cast("Callable[..., object]", callback))
            raise ScriptError(printable(f"{place}: {error}")) from error

    def _framing(self, value: object) -> FramingFor:
        # `from interpose import framing` leaves the module under that name.
        if value is None or _is_module(value, "interpose.framing"):
            return None
        try:
            framings_of(value, Relay())
        except InterposeError as error:
            raise ScriptError(f"{self.source.name}: {error}") from error
        return cast("FramingFor", value)

    def _filters(self, value: object) -> list[Any]:
        if value is None or _is_module(value, "interpose.filters"):
            return []
        from ..._filter_list import filters_or_none

        try:
            return [*filters_or_none(value)]
        except InterposeError as error:
            raise ScriptError(printable(f"{self.source.name}: {error}")) from error

    def _options(self, names: dict[str, Any], given: Sequence[Given]) -> dict[str, object]:
        options: object = names.get("options", {})
        if not isinstance(options, dict):
            kind = type(options).__name__
            raise ScriptError(
                f'{self.source.name}: options: it is of the type {kind}, not a dict; write options = {{"limit": 10}}'
            )
        known = cast("dict[str, object]", options)
        try:
            values = settled(self.source.stem, known, given)
        except InterposeError as error:
            raise ScriptError(str(error)) from error
        known.update(values)
        return known

    def _load(self, load: object) -> None:
        place = place_of_function(self.source, cast("Callable[..., object]", load))
        if not callable(load) or inspect.iscoroutinefunction(load):
            raise ScriptError(f"{place}: load: it is no plain function; write def load(options): ...")
        try:
            inspect.signature(load).bind(self.options)
        except (TypeError, ValueError):
            raise ScriptError(f"{place}: load: it is called with the options; write def load(options): ...") from None
        with self._errors(" in load()"), _importing(self.source.folder):
            load(self.options)
            self.files |= _files_beside(self.source.folder)

    def _check_slips(self, names: Mapping[str, Any]) -> None:
        """Raise for a function that is nearly a hook by its name: nobody would ever call it."""
        for name, value in names.items():
            if name in HOOKS or not callable(value) or getattr(value, "__module__", None) != self._module.__name__:
                continue
            meant = nearest(name, HOOKS, OTHERS) if name.lower().startswith("on") or is_alias(name) else None
            if meant and meant not in names:
                place = place_of_function(self.source, value)
                raise ScriptError(printable(f"{place}: {name}: there is no such hook; did you mean {meant}?"))

    @contextmanager
    def _errors(self, what: str = "") -> Generator[None]:
        """Turn what the script raises into a ScriptError with its place, but for Ctrl-C."""
        try:
            yield
        except KeyboardInterrupt:
            self._forget()
            raise
        except BaseException as error:
            self._forget()
            raise failed(self.source, error, self.files, what) from error


def _is_module(value: object, name: str) -> bool:
    return isinstance(value, ModuleType) and value.__name__ == name


@contextmanager
def _importing(folder: Path | None) -> Generator[None]:
    """Let a script import modules of its folder, and write no compiled files there."""
    if folder is None:
        yield
        return
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    # A compiled file names the version of its source by whole seconds.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    known = set(sys.modules)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        _beside.update(name for name in set(sys.modules) - known if _file_beside(name, folder))


def _file_beside(name: str, folder: Path) -> Path | None:
    """Return the file of a module that stands in `folder`, or in a package that does."""
    module, top = sys.modules.get(name), sys.modules.get(name.partition(".")[0])
    file, first = getattr(module, "__file__", None), getattr(top, "__file__", None)
    if not isinstance(file, str) or not isinstance(first, str) or name.startswith("interpose"):
        return None
    place = Path(first).parent
    is_beside = folder in (place, place.parent if Path(first).stem == "__init__" else place)
    return Path(file) if is_beside else None


def _files_beside(folder: Path | None) -> set[Path]:
    if folder is None:
        return set()
    return {file for name in [*_beside] if (file := _file_beside(name, folder))}


@contextmanager
def imported_anew(files: set[Path]) -> Generator[None]:
    """Forget the modules of these files, and those beside them, so that scripts import them again.

    What raises in between puts them back.
    """
    folders = {file.parent for file in files}
    gone = {name: sys.modules[name] for name in [*_beside] if name in sys.modules and _is_in(name, folders)}
    for name in gone:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        sys.modules.update(gone)
        raise


def _is_in(name: str, folders: set[Path]) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and any(folder in Path(file).parents for folder in folders)
