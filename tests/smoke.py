"""Passes bytes through a proxy from a built wheel, on other Pythons than the one it was built with.

python tests/smoke.py WHEEL     on every other CPython here that the wheel is for, each in a fresh environment
python tests/smoke.py --here    in this interpreter, with the interpose that is installed in it
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 20)
SECONDS = 20
IDENTIFY = (
    "import sys, sysconfig; "
    "print(sys.implementation.name, sysconfig.get_config_var('Py_GIL_DISABLED') or 0, *sys.version_info[:3])"
)


def main(arguments: list[str]) -> int:
    if arguments == ["--here"]:
        pass_bytes()
        run_command()
        print(f"ok: {platform.python_implementation()} {platform.python_version()} {sysconfig.get_platform()}")
        return 0
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    wheel = Path(arguments[0]).resolve(strict=True)
    others = other_interpreters(wheel)
    for version, interpreter in others.items():
        print(f"CPython {version}: {interpreter}", flush=True)
        in_fresh_environment(interpreter, wheel)
    if not others:
        print("no other CPython that the wheel is for found on this machine: nothing to do")
    return 0


def pass_bytes() -> None:
    """Send one MiB through a proxy, have it echoed by an upstream, and end in order."""
    from interpose import CloseReason, TheServer

    sent = os.urandom(1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        echo = threading.Thread(target=echo_once, args=(upstream,), daemon=True)
        echo.start()
        with TheServer("", 0, forward_to=upstream.getsockname()) as server:
            address = "127.0.0.1", int(server.address[1])
            with socket.create_connection(address, timeout=SECONDS) as client:
                writer = threading.Thread(target=send_and_end, args=(client, sent), daemon=True)
                writer.start()
                received = read_to_end(client)
            server.stop()
            closed = server.stats.closed[CloseReason.FINISHED]
        echo.join(SECONDS)
    if received != sent:
        raise SystemExit(f"sent {len(sent)} bytes, got {len(received)} back, and not the same")
    if closed != 1:
        raise SystemExit(f"expected one connection that finished, got {closed}")


def echo_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(SECONDS)
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def send_and_end(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def read_to_end(connection: socket.socket) -> bytes:
    chunks: list[bytes] = []
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def run_command() -> None:
    command = [sys.executable, "-m", "interpose", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)


def in_fresh_environment(interpreter: Path, wheel: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="interpose-smoke-") as folder:
        run = [str(interpreter), "-m", "venv", folder]
        subprocess.run(run, check=True, timeout=120)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        install = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
        subprocess.run([python, *install], check=True, timeout=120)
        here = [str(Path(__file__).resolve()), "--here"]
        subprocess.run([python, *here], check=True, cwd=folder, timeout=5 * SECONDS)


def other_interpreters(wheel: Path) -> dict[str, Path]:
    """One interpreter per version, without the one that runs this."""
    mine = f"{platform.python_version()}{'t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''}"
    found: dict[str, Path] = {}
    for candidate in candidates():
        version = version_of(candidate, wheel)
        if version and version != mine:
            found.setdefault(version, candidate)
    return dict(sorted(found.items()))


def candidates() -> list[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    paths = sorted(pyenv.glob("*/bin/python3"))
    for minor in range(OLDEST[1], NEWEST[1]):
        for name in (f"python3.{minor}", f"python3.{minor}t"):
            on_path = shutil.which(name)
            if on_path:
                paths.append(Path(on_path))
    return paths


def version_of(interpreter: Path, wheel: Path) -> str | None:
    """Say its version, or None when it is not a CPython that the wheel is for, or does not run."""
    try:
        asked = subprocess.run(
            [interpreter, "-c", IDENTIFY],
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    name, without_gil, *version = asked.stdout.split()
    if name != "cpython" or not fits(wheel, tuple(map(int, version[:2])), without_gil != "0"):
        return None
    return ".".join(version) + ("t" if without_gil != "0" else "")


def fits(wheel: Path, version: tuple[int, ...], without_gil: bool) -> bool:
    """Tell whether the wheel is for that CPython: a free-threaded one has no stable ABI, and needs its own version."""
    abi = wheel.stem.split("-")[-2]
    if without_gil:
        return abi == f"cp{version[0]}{version[1]}t"
    return abi == "abi3" and version >= OLDEST


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
