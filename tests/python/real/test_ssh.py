"""OpenSSH: the server speaks first, both sides check every byte, and scp moves 50 MB each way."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deadline import poll
from support.payloads import MEBIBYTE, file_digest, output_digest, random_file
from support.peers import bound_address, free_port, listener
from support.processes import Child, program, run

from .conftest import Through

pytestmark = pytest.mark.xdist_group("ssh")

CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""
# sshd run by root insists on this empty folder, which Debian's service makes when it starts.
PRIVILEGE_SEPARATION = Path("/run/sshd")
# Where it is missing sshd gets a /run of its own, so that this machine's stays as it is.
OWN_RUN = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'


def with_privilege_separation(folder: Path) -> list[str]:
    """What to put before sshd's command line."""
    if os.geteuid() != 0 or PRIVILEGE_SEPARATION.exists():
        return []
    prefix = [program("unshare", "util-linux"), "--mount", "sh", "-c", OWN_RUN, "sh"]
    try:
        run([*prefix, "true"], folder)
    except AssertionError as error:
        pytest.skip(f"sshd needs {PRIVILEGE_SEPARATION}, and no mount namespace can be made here: {error}")
    return prefix


class Ssh:
    """A server for the user that runs the tests, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        sshd = program("sshd", "openssh-server")
        shell = Path(pwd.getpwuid(os.getuid()).pw_shell).name
        if shell in ("nologin", "false"):
            pytest.skip(f"{getpass.getuser()} cannot log in here: the shell is {shell}")
        keygen = program("ssh-keygen", "openssh-client")
        self.ssh, self.scp = program("ssh", "openssh-client"), program("scp", "openssh-client")
        self.port = free_port()
        for name in ("host_key", "user_key"):
            run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], folder)
        config = folder / "sshd_config"
        config.write_text(CONFIG.format(folder=folder, port=self.port))
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "IdentitiesOnly=yes", "LogLevel=ERROR"]
        options += [f"UserKnownHostsFile={folder}/known", "IdentityAgent=none"]
        self.options = ["-F", "none", "-i", str(folder / "user_key")]
        for option in options:
            self.options += ["-o", option]
        self.child = Child(
            [*with_privilege_separation(folder), sshd, "-D", "-e", "-f", str(config)], folder, name="sshd"
        )
        self.child.wait_for("Server listening on 127.0.0.1")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    server = Ssh(tmp_path_factory.mktemp("ssh"))
    yield server
    server.child.stop()


@pytest.fixture
def port(ssh: Ssh, through: Through) -> int:
    """The proxy's port before the server."""
    return through(f"127.0.0.1:{ssh.port}").address[1]


def login() -> str:
    """This user, on the other end of the proxy."""
    return f"{getpass.getuser()}@127.0.0.1"


def test_scp_up_and_down(ssh: Ssh, port: int, tmp_path: Path) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    digest = random_file(first, 50 * MEBIBYTE)
    scp = [ssh.scp, "-q", "-P", str(port), *ssh.options]
    run([*scp, str(first), f"{login()}:{second}"], tmp_path)
    assert file_digest(second) == digest
    run([*scp, f"{login()}:{second}", str(third)], tmp_path)
    assert file_digest(third) == digest
    for path in (first, second, third):
        path.unlink()


def test_both_ways_at_once(ssh: Ssh, port: int, tmp_path: Path) -> None:
    """A pipe through the other side: 20 MB go in while they come out."""
    source = tmp_path / "source"
    digest = random_file(source, 20 * MEBIBYTE)
    argv = [ssh.ssh, "-p", str(port), *ssh.options, login(), "cat"]
    assert output_digest(argv, tmp_path, seconds=60, stdin=source) == digest


def test_exit_code_and_both_outputs(ssh: Ssh, port: int, tmp_path: Path) -> None:
    argv = [ssh.ssh, "-p", str(port), *ssh.options, login(), "echo out; echo err >&2; exit 7"]
    assert run(argv, tmp_path, codes=(7,)) == b"out\n"


def test_a_forwarded_port_inside(ssh: Ssh, port: int, tmp_path: Path) -> None:
    """Connections within the connection: ssh -W, which speaks to a third party through the server."""
    with listener() as listening:
        listening.setblocking(False)
        _, inner = bound_address(listening)
        argv = [ssh.ssh, "-p", str(port), *ssh.options, "-W", f"127.0.0.1:{inner}", login()]
        with Child(argv, tmp_path) as client:

            def arrived() -> socket.socket | None:
                assert client.popen.poll() is None, client.output()
                with contextlib.suppress(BlockingIOError):
                    return listening.accept()[0]
                return None

            with poll(arrived, 10, "the server connects to the third party") as accepted:
                accepted.sendall(b"from within\n")
                poll(lambda: "from within" in client.output(), 5, "what the third party said")
