"""Type checkers are content with every Python example of the documentation, as printed, and know what hooks are.

They belong to the checks, so these tests run where `pip install --group lint` has put them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import interpose
import pytest
from support.doc_blocks import blocks_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
PACKAGE = Path(str(interpose.__file__)).parent
SECONDS = 100

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mypy", "pyright")),
    reason="type checkers are not installed",
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", *command]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=SECONDS, check=False)


def mypy(folder: Path) -> str:
    """Return what mypy says of the files in `folder`, where a link leads to the package: it may not be installed."""
    options = ("--strict", "--config-file=", "--no-error-summary", "--cache-dir=/dev/null", "--python-version=3.11")
    return run(folder, "mypy", *options, *(path.name for path in folder.glob("*.py"))).stdout


def pyright(folder: Path) -> list[str]:
    """Return what pyright says of the files in `folder`, a line each."""
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "reportMissingModuleSource": False}
    settings |= {"ignore": ["interpose"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    ran = run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable)
    found: list[dict[str, Any]] = json.loads(ran.stdout)["generalDiagnostics"]
    return [f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: {one['message']}" for one in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "interpose").symlink_to(PACKAGE)
    return tmp_path


def write_examples(folder: Path) -> int:
    """Write every Python block of the documentation to a file of its own; return how many there are.

    What another block of its page imports has its own name as well.
    """
    written = 0
    for page in PAGES:
        stem = re.sub(r"\W", "_", page.relative_to(ROOT).with_suffix("").as_posix().lower())
        for block in blocks_of(page):
            if block.language == "python":
                (folder / f"{stem}_{block.line}.py").write_text(block.text, encoding="utf-8")
                written += 1
                if f"from {Path(block.title).stem} import" in page.read_text(encoding="utf-8"):
                    assert not (folder / block.title).exists(), f"two pages have a {block.title} that is imported"
                    (folder / block.title).write_text(block.text, encoding="utf-8")
    return written


def test_every_example_passes_mypy_and_pyright_strict(folder: Path) -> None:
    assert write_examples(folder) > 20
    assert mypy(folder) == ""
    assert pyright(folder) == []


PLAIN = """
from interpose import TheServer


class Ours(TheServer):
    def on_recv(self, side, data):
        reveal_type(side)
        reveal_type(data)
        reveal_type(side.other.send(data))

    def on_close(self, conn):
        reveal_type(conn)


server = Ours("", 0)
reveal_type(server.address)
"""


def test_the_parameters_of_an_override_are_known_without_annotations(folder: Path) -> None:
    (folder / "plain.py").write_text(PLAIN)
    revealed = [line.partition(" is ")[2] for line in pyright(folder) if "Type of" in line]
    assert revealed == ['"Side"', '"bytes"', '"int | Any"', '"Connection"', '"tuple[str, int]"']


OVERRIDES = """
from interpose import Connection, Side, TheServer


class OneTooFew(TheServer):
    def on_recv(self, side: Side) -> None: ...


class OfText(TheServer):
    def on_recv(self, side: Side, data: str) -> None: ...


class OfASide(TheServer):
    def on_close(self, conn: Side) -> None: ...


class OneTooMany(TheServer):
    def on_accept(self, conn: Connection, more: int) -> None: ...


class Asynchronous(TheServer):
    async def on_eof(self, side: Side) -> str: ...


class WithoutArguments(TheServer):
    def on_connect(self) -> None: ...
    def on_client_recv(self) -> None: ...
"""

RIGHT = """
from interpose import MORE, Connection, Forward, More, Relay, Side, TheServer, framing
from interpose.framing import Framing


def cut(buffer: memoryview) -> int | None:
    return None


def by_port(port: int) -> Framing | None:
    return framing.lines() if port == 25 else None


class Framed(TheServer):
    framing = framing.length_prefixed(2, byteorder="little")

    def on_recv(self, side: Side, data: bytes) -> list[bytes]:
        side.framing = by_port(side.getpeername()[1])
        return [] if side.partial else (side.framing or framing.custom(cut)).split(data, client=side.is_client)


TheServer("", 0, framing=framing.http1(), relay=Relay(max_message=1000, framing_errors="chunk"))
TheServer("", 0, framing=(None, framing.delimited(b"x")))


class Deciding(TheServer):
    def on_preread(self, conn: Connection, data: bytes) -> Forward | More | None:
        return MORE if len(data) < 3 else None


class DecidingLater(TheServer):
    async def on_preread(self, conn: Connection, data: bytes) -> str | More | bool:
        await conn.client.peek(1, timeout=1)
        return MORE


class OfViews(TheServer):
    def on_recv(self, side: Side, data: memoryview) -> list[memoryview]:
        return [data]


class OfEither(TheServer):
    def on_client_recv(self, side: Side, data: bytes | memoryview, more: int = 3) -> None: ...

    def on_accept(self, conn: Connection) -> str | bool:
        return super().on_accept(conn) is not None and "example.org:80"

    def on_close(self, conn: Connection) -> None:
        super().on_close(conn)


class Asynchronous(TheServer):
    async def on_recv(self, side: Side, data: bytes) -> bytes | None:
        return data

    async def on_accept(self, conn: Connection) -> str | bool:
        return "example.org:80"

    async def on_close(self, conn: Connection) -> None: ...


async def later(side: Side, data: bytes) -> list[bytes]:
    return [data]


async def end(side: Side) -> bool:
    return False


class Tutorial(TheServer):
    def on_recv(self) -> None:
        self.channel[self.s].send(self.data)
        self.input_list += [self.server]
        super().on_recv()
        self.on_close()


class Longer(Tutorial):
    def on_recv(self) -> None:
        super().on_recv()
        if self.data == b"quit":
            self.on_close()

    def on_close(self) -> None:
        super().on_close()


server = TheServer("", 0)
server.on_recv = lambda side, data: data
server.on_recv = lambda side, data: [data.upper(), data]
server.on_eof = lambda side: side.is_client
server.on_recv = later
server.on_eof = end
server.on_preread = lambda conn, data: MORE if len(data) < conn.id else ("localhost", 80)
another = TheServer("", 0, on_preread=lambda conn, data: None)


@another.on_preread
async def deciding(conn: Connection, data: bytes) -> Forward | More:
    return MORE


TheServer("", 0, on_recv=later, on_eof=end)


@server.on_client_recv
async def both(side: Side, data: bytes) -> bytes:
    return data + b"".join(await later(side, data))
"""


def test_an_override_with_another_signature_is_found_by_both(folder: Path) -> None:
    """So is a method without arguments where the tutorial has none."""
    (folder / "overrides.py").write_text(OVERRIDES)
    lines = {6, 10, 14, 18, 22, 26, 27}
    assert {int(line.split(":")[1]) for line in mypy(folder).splitlines() if "error:" in line} == lines
    assert {int(line.split(":")[1]) for line in pyright(folder)} == lines


def test_what_is_right_is_right_for_both(folder: Path) -> None:
    (folder / "right.py").write_text(RIGHT)
    assert mypy(folder) == ""
    assert pyright(folder) == []


FORMS = """
from interpose import Side, TheServer


class Ours(TheServer):
    def on_recv(self, side: Side, data: bytes) -> None:
        print(self.data)


class Tutorial(TheServer):
    def on_recv(self) -> None:
        print(self.data)


print(TheServer("", 0).channel)
print(Ours("", 0).s)
print(Tutorial("", 0).s)
"""


def test_what_the_tutorial_has_is_on_servers_of_its_form_alone(folder: Path) -> None:
    (folder / "forms.py").write_text(FORMS)
    lines = {7, 15, 16}
    assert {int(line.split(":")[1]) for line in mypy(folder).splitlines() if "error:" in line} == lines
    assert {int(line.split(":")[1]) for line in pyright(folder)} == lines


WRONG = """
from interpose import Callbacks, Listen, Relay, Side, TheServer, Timeouts, framing


class Ours(TheServer):
    def on_recv(self, side: Side, data: bytes) -> int:
        return 1


server = Ours("", 0)


@TheServer("", 0).on_recv
def on_recv(side: Side, data: str) -> None: ...


server.on_eof = on_recv
TheServer("", 0, callback_errors="ignore")
TheServer("", 0, buffer="views")
server.on_receive = on_recv
TheServer("", 0, target="example.org:80")
Timeouts(idle="5")
Relay(buffer="views")
Callbacks(thread=3)
Listen().backlog = 4
TheServer("", 0, listen=Relay())
TheServer("", 0, framing="lines")
TheServer("", 0, framing=framing.lines)
framing.length_prefixed(2, byteorder="network")
framing.custom(lambda buffer: "1")
"""


def test_what_is_wrong_is_found_by_both(folder: Path) -> None:
    (folder / "wrong.py").write_text(WRONG)
    lines = {6, 13, *range(17, 31)}
    assert {int(line.split(":")[1]) for line in mypy(folder).splitlines() if "error:" in line} == lines
    assert {int(line.split(":")[1]) for line in pyright(folder)} >= lines
