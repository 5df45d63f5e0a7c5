"""Runs the blocks of a page in their order, as a reader would, in a network that nobody else is in.

`PYTHONPATH=tests/python python -m support.doc_page` runs the pages that have pictures of terminals, and writes those.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from .deadline import poll
from .doc_blocks import Block, Typed, blocks_of, is_session, typed
from .doc_screens import pictures, screens_of
from .doc_terminal import SECONDS, Terminal
from .namespaces import Namespace
from .peers import connect, echo
from .processes import environment, find_program

# Blocks that are to be read.
READ = {"text", "diff", "toml", "rust", "ini", "dockerfile"}
# Commands that CI runs as the pages say, or that take minutes.
ELSEWHERE = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/interpose demo",
    "tests/run",
    "python3 -m benches.compare --quick --install",
}
PROGRAM = re.compile(r"(?:^|[|;]\s*|&&\s*)([A-Za-z][\w.-]*)(?=\s|$)")
# Programs that a shell has, or that are ours.
KNOWN = {"cd", "echo", "printf", "export", "sleep", "kill", "interpose", "python", "python3", "true", "exit"}
# A reader has no other plugins of pytest. Those that are installed here take seconds to be imported.
PYTEST = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "interpose.pytest_plugin"}
# Programs that refuse to run as root.
UNPRIVILEGED = ("initdb", "postgres", "createdb")
NOBODY = 65534


def programs_of(page: Path) -> set[str]:
    """Return the programs that the page's commands need, beside ours."""
    consoles = [block for block in blocks_of(page) if block.language == "console"]
    lines = [one.command for block in consoles for one in typed(block)]
    return {name for line in lines if line not in ELSEWHERE for name in PROGRAM.findall(line)} - KNOWN


class Page:
    """A page's reader: a folder, a network, and the terminals that are open."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._terminals: list[Terminal] = []
        self._typed: list[Terminal] = []
        self._network: Namespace | None = None
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="page-", dir="/tmp")))
            if os.geteuid() == 0 and find_program("ip"):
                self._network = Namespace()
                stack.callback(self._network.delete)
            else:
                stack.enter_context(one_at_a_time())
            self._programs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="programs-", dir="/tmp")))
            self._link_programs()
            self._stack = stack.pop_all()

    def _link_programs(self) -> None:
        python = shlex.quote(sys.executable)
        scripts = {"interpose": f"{python} -m interpose", "python": f"{python} -X dev -W error"}
        for name in programs_of(self._page):
            found = find_program(name)
            if found is None:
                pytest.skip(f"no program {name}")
            scripts[name] = found
            if name in UNPRIVILEGED and os.geteuid() == 0:
                scripts[name] = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {found}"
        for name, words in scripts.items():
            file = self._programs / name
            file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            file.chmod(0o755)
        for folder in (self._folder, self._programs):
            folder.chmod(0o777)

    def run(self) -> None:
        """Run every block, then look at the terminals that are open, and close them."""
        for block in blocks_of(self._page):
            try:
                self._run(block)
            except AssertionError as error:
                raise AssertionError(f"{self._page}:{block.line}: {error}") from None
        for terminal in reversed(self._terminals):
            terminal.close()

    def said(self) -> dict[str, str]:
        """Return what the commands of the page have said."""
        return {terminal.typed.command: terminal.screen for terminal in self._typed}

    def close(self) -> None:
        """End everything that still runs, and the network."""
        for terminal in self._terminals:
            terminal.kill()
        self._stack.close()

    def _run(self, block: Block) -> None:
        if block.title:
            (self._folder / block.title).write_text(block.text, encoding="utf-8")
            assert self._is_used(block.title), f"no command of the page uses {block.title}"
        elif block.language == "console":
            commands = typed(block)
            for number, one in enumerate(commands, 1):
                if one.command not in ELSEWHERE:
                    self._type(one, session=is_session(block), last=number == len(commands))
        elif block.language == "python":
            self._script(block.text)
        else:
            assert block.language in READ, f"nothing runs a block of {block.language or 'no language'}"

    def _is_used(self, name: str) -> bool:
        others = [one.text for one in blocks_of(self._page) if one.title != name]
        globs = [word for text in others for word in re.findall(r"[\w.]*\*[\w.]*\.py\b", text)]
        return any(name in text or Path(name).stem in text for text in others) or any(
            fnmatchcase(name, glob) for glob in globs
        )

    def _type(self, one: Typed, *, session: bool, last: bool) -> None:
        self._make_room(one.command)
        terminal = self._open(one)
        terminal.settle()
        if not terminal.serves:
            self._terminals.remove(terminal)
            terminal.check_ended()
        elif not session and not one.command.startswith("interpose echo") and one.command.startswith("interpose "):
            self._visit(terminal)
        else:
            assert last or not session, f"it goes on, so nothing can be typed behind it: {one.command}"

    def _script(self, text: str) -> None:
        (self._folder / "example.py").write_text(text, encoding="utf-8")
        self._make_room("python example.py")
        terminal = self._open(Typed("python example.py", ()))
        if "main_loop(" in text:
            terminal.settle()
            assert terminal.serves, terminal.said
            self._visit(terminal)
        else:
            terminal.wait()
            self._terminals.remove(terminal)
            terminal.check_ended()

    def _open(self, one: Typed) -> Terminal:
        prefix = self._network.prefix if self._network else []
        path = f"{self._programs}:{os.environ['PATH']}"
        env = environment({"PATH": path, "TERM": "xterm-256color", "HOME": str(self._folder), **PYTEST})
        terminal = Terminal(one, [*prefix, "bash", "-c", one.command], self._folder, env)
        self._terminals.append(terminal)
        self._typed.append(terminal)
        return terminal

    def _make_room(self, command: str) -> None:
        """Close the terminals that listen where the command is about to."""
        wanted = {int(port) for port in re.findall(r"^interpose (?:\S*:)?(\d+) ", command)}
        for word in re.findall(r"[\w.-]+\.(?:py|toml)\b", command):
            file = self._folder / word
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            wanted |= {int(port) for port in re.findall(r'(?:\w\("", |listen = "?(?:\S*:)?)(\d+)', text)}
        for terminal in [one for one in self._terminals if one.ports & wanted]:
            terminal.close()
            self._terminals.remove(terminal)

    def _visit(self, terminal: Terminal) -> None:
        """Check that a proxy that the page has no client for passes bytes on, and close it."""
        for port in terminal.ports:
            with self._client(terminal, port) as client:
                answer = echo(client, b"hello")
                assert answer == b"hello", f"{terminal.typed.command}: hello is answered {answer!r}; {terminal.said}"
        terminal.close()
        self._terminals.remove(terminal)

    def _client(self, terminal: Terminal, port: int) -> socket.socket:
        if port == 0:
            # The line may be read in parts.
            found = poll(lambda: re.search(r"unix:(\S+?),", terminal.said), SECONDS, "the line with its socket")
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(SECONDS)
            client.connect(str(self._folder / found[1]))
            return client
        host = "::1" if "[::1]" in terminal.typed.command else "127.0.0.1"
        return self._network.connect((host, port)) if self._network else connect((host, port))


def run_page(page: Path) -> dict[Path, str]:
    """Run a page, and return its pictures; or skip it where it needs what is not here."""
    if not shutil.which("bash") or not Path("/proc/self/net/tcp").exists():
        pytest.skip("pages run where there is /proc, and bash")
    reader = Page(page)
    try:
        reader.run()
        return pictures(page, reader.said())
    finally:
        reader.close()


@contextmanager
def one_at_a_time() -> Generator[None]:
    """The ports of the pages are fixed, so no other process of the tests may use them meanwhile."""
    import fcntl  # not on every system, and not needed where a page has a network of its own

    with Path(tempfile.gettempdir(), f"interpose-docs-{os.getuid()}.lock").open("w") as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        poll(taken, 100.0, "the ports of the pages are free")
        yield


def write_pictures() -> None:
    """Run the pages that have pictures, and write those."""
    docs = Path(__file__).resolve().parents[3] / "docs"
    for page in sorted(path for path in docs.rglob("*.md") if screens_of(path)):
        for path, text in run_page(page).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pictures()
