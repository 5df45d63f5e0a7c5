"""What is measured with and what is measured: the load generator, and interpose from a release wheel."""

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-bench"
PEERS = ROOT / ".venv-peers"
BUILD_TIME = 1800


class BuildError(Exception):
    """Something could not be built."""


def load_program() -> Path:
    """Build the load generator; give its path."""
    return _bench_program("load")


def tokio_copy_program() -> Path:
    """Build the relay on tokio's copy_bidirectional; give its path."""
    return _bench_program("tokio_copy")


def _bench_program(name: str) -> Path:
    # It shares nothing with the library that a slow link would speed up.
    quick = {"CARGO_PROFILE_BENCH_LTO": "off", "CARGO_PROFILE_BENCH_CODEGEN_UNITS": "16"}
    command = ["cargo", "bench", "--no-run", "--bench", name, "--message-format=json-render-diagnostics"]
    output = _run(command, os.environ | quick)
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return Path(message["executable"])
    raise BuildError(f"cargo named no executable for the bench target '{name}'")


def peers_environment() -> Path:
    """Install the Python peers, as pyproject.toml pins them; give the folder of their programs."""
    stamp, pins = PEERS / "pins", hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == pins):
        venv.create(PEERS, with_pip=True)
        pip = [str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--upgrade", "pip==26.3"], dict(os.environ))
        _run([*pip, "--group", "peers"], dict(os.environ))
        stamp.write_text(pins)
    return PEERS / "bin"


def draw(results: Path, folder: Path) -> None:
    """Draw the plots, in the environment that has the library for it."""
    python = peers_environment() / "python"
    _run([str(python), "-m", "benches.plots", str(results), str(folder)], dict(os.environ))


def interpose_command() -> Path:
    """Install this checkout, built for release, into an environment of its own; give the command's path."""
    command = VENV / "bin" / "interpose"
    stamp = VENV / "sources.sha256"
    sources = _digest()
    if command.exists() and stamp.exists() and stamp.read_text() == sources:
        return command
    if not (VENV / "bin" / "python").exists():
        venv.create(VENV, with_pip=True)
    stamp.unlink(missing_ok=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--force-reinstall", "--no-deps", str(ROOT)], dict(os.environ))
    stamp.write_text(sources)
    return command


# Debian's packages of the peers that are programs of the system.
PACKAGES = ("haproxy", "nginx-core", "libnginx-mod-stream", "libnginx-mod-stream-js", "socat", "stunnel4")


def install_peers() -> None:
    """Install the peers that come from Debian. Needs root."""
    if os.geteuid() != 0:
        raise BuildError(f"--install needs root; or as root: apt-get install {' '.join(PACKAGES)}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "--quiet=2", "update"], quiet)
    _run(["apt-get", "--quiet=2", "install", "--no-install-recommends", "--yes", *PACKAGES], quiet)


def _digest() -> str:
    """Sum up everything the wheel is made of."""
    files = [ROOT / name for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml")]
    for folder, patterns in (("src", ["*.rs"]), ("python", ["*.py", "*.pyi", "py.typed"])):
        for pattern in patterns:
            files += sorted((ROOT / folder).rglob(pattern))
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=BUILD_TIME
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{' '.join(command[:4])} … failed: {error}") from error
    return done.stdout
