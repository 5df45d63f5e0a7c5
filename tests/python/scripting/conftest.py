"""Servers whose hooks come from scripts that a test writes."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from interpose._cli.scripting.server import ScriptedServer, bind
from interpose._cli.scripting.watch import Watch
from interpose._groups import ScriptSettings
from support.peers import Echo


class Scripted(Protocol):
    """Makes a started server with scripts, and the watch over their files."""

    def __call__(self, *scripts: str, code: str = "", given: tuple[str, ...] = ()) -> tuple[ScriptedServer, Watch]: ...


class Folder:
    """A folder with scripts in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0

    def write(self, name: str, text: str) -> str:
        """Write a script, always with another stamp; return its path."""
        path = self.path / name
        self._number += 1
        path.write_text(f"{textwrap.dedent(text).strip()}\n# {self._number}{'.' * self._number}\n")
        return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    before, modules = sys.path[:], set(sys.modules)
    yield Folder(tmp_path)
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def scripted(echo: Echo) -> Iterator[Scripted]:
    with ExitStack() as servers:

        def start(*scripts: str, code: str = "", given: tuple[str, ...] = ()) -> tuple[ScriptedServer, Watch]:
            settings = ScriptSettings(script=scripts, code=(code,) if code else (), set=given)
            server = bind(settings, "0", forward_to=echo.address)
            assert isinstance(server, ScriptedServer)
            servers.callback(server.stop, 0.0)
            server.start()
            return server, Watch(server.scripts)

        yield start
