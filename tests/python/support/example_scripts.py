"""The scripts of examples/ as a user runs them: in processes of their own, ended with Ctrl-C."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from .peers import Address
from .processes import Child

FOLDER = Path(__file__).resolve().parents[3] / "examples"


def script(name: str) -> str:
    """The path of an example."""
    return str(FOLDER / f"{name}.py")


def address_text(address: Address) -> str:
    """An address as it is written on a command line."""
    return f"{address[0]}:{address[1]}"


class Example:
    """An example that runs."""

    def __init__(self, name: str, arguments: tuple[str, ...], folder: Path) -> None:
        self.child = Child([sys.executable, "-X", "dev", script(name), "0", *arguments], folder, name=name)
        try:
            found = self.child.wait_for(r"127\.0\.0\.1:(\d+)")
        except BaseException:
            self.child.kill()
            raise
        self.address: Address = ("127.0.0.1", int(found[1]))

    def says(self, pattern: str) -> str:
        """Wait until it has printed a line like that; return the line."""
        return self.child.wait_for(f"^{pattern}$")[0]

    def end(self) -> str:
        """Ctrl-C: it leaves with words and nothing else. Returns all that it has printed."""
        code = self.child.stop(signal.SIGINT)
        output = self.child.output()
        assert code == 1, output
        assert "Traceback" not in output
        assert "Ctrl-C: everything is closed" in output
        return output
