"""Network namespaces: two machines with a wire between them, made for one test and deleted after it."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .peers import Address, listener
from .processes import find_program

CLONE_NEWNET = 0x40000000
DEAD_MAC = "02:00:00:00:00:fe"


class Namespace:
    """One network: its own interfaces, routes, ports, sysctls, and (through /etc/netns) its own name lookup."""

    def __init__(self) -> None:
        self.name = f"itp-{uuid.uuid4().hex[:10]}"
        self.files = Path("/etc/netns") / self.name
        self.prefix = ["ip", "netns", "exec", self.name]
        subprocess.run(["ip", "netns", "add", self.name], check=True, capture_output=True)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> None:
        """`ip` with these arguments, inside."""
        subprocess.run(["ip", "-n", self.name, *arguments], check=True, capture_output=True, timeout=10)

    def run(self, *argv: str) -> str:
        """A program inside; its output."""
        done = subprocess.run([*self.prefix, *argv], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    @contextmanager
    def entered(self) -> Generator[None]:
        """This thread is inside, so that sockets made here belong there, for ever and in every thread."""
        libc = ctypes.CDLL(None, use_errno=True)
        # A thread's own /proc entry: /proc/self would be the main thread's.
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if libc.setns(inside, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            libc.setns(home, CLONE_NEWNET)
            os.close(inside)
            os.close(home)

    def connect(self, address: Address, seconds: float = 10.0) -> socket.socket:
        """A client inside."""
        with self.entered():
            return socket.create_connection(address, seconds)

    def listener(self, host: str) -> socket.socket:
        """A listening socket inside."""
        with self.entered():
            return listener(host)

    def sysctl(self, key: str, value: str) -> None:
        """Set a net.* value for this namespace only."""
        with self.entered():
            Path("/proc/sys/net", *key.split(".")).write_text(value)

    def file(self, name: str, text: str) -> None:
        """What /etc/NAME says to processes started inside from now on."""
        self.files.mkdir(parents=True, exist_ok=True)
        (self.files / name).write_text(text)

    def firewall(self, *rules: str) -> None:
        """Replace the rules that packets must pass on their way in, in the words of nft."""
        script = ["table inet itp {}", "delete table inet itp", "table inet itp {", "chain arriving {"]
        script += ["type filter hook input priority 0; policy accept;", *rules, "}", "}"]
        subprocess.run(
            [*self.prefix, "nft", "-f", "-"], input="\n".join(script), text=True, check=True, capture_output=True
        )

    def dead(self, address: str, device: str = "veth0") -> None:
        """Make a neighbour that is known and never answers."""
        self.ip("neigh", "replace", address, "lladdr", DEAD_MAC, "dev", device, "nud", "permanent")

    def delete(self) -> None:
        """Gone, with its files and processes' view of them."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)
        shutil.rmtree(self.files, ignore_errors=True)
        if self.files.parent.is_dir() and not any(self.files.parent.iterdir()):
            try:
                self.files.parent.rmdir()
            except OSError:
                pass  # another test has just made its own there


class Network:
    """The proxy's machine and the upstream's, and the wire. Clients may live on either."""

    near_address = "10.77.0.1"
    # As far from the near address, in bits, as the dead one: the resolver's sorting then leaves their order alone.
    far_address = "10.77.0.98"
    dead_address = "10.77.0.99"
    near_address6 = "fd77::1"
    far_address6 = "fd77::2"
    dead_address6 = "fd77::99"

    def __init__(self, near: Namespace, far: Namespace) -> None:
        self.near, self.far = near, far
        near.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", far.name)
        for side, v4, v6 in (
            (near, self.near_address, self.near_address6),
            (far, self.far_address, self.far_address6),
        ):
            side.ip("address", "add", f"{v4}/24", "dev", "veth0")
            side.ip("address", "add", f"{v6}/64", "dev", "veth0", "nodad")
            side.ip("link", "set", "veth0", "up")
        near.dead(self.dead_address)
        near.dead(self.dead_address6)

    def set_mtu(self, size: int) -> None:
        """The largest packet the wire takes, both ways."""
        for side in (self.near, self.far):
            side.ip("link", "set", "veth0", "mtu", str(size))


def require_root(*programs: str) -> None:
    """A visible skip without the right to make networks, or without the tools for it."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    for name, package in (("ip", "iproute2"), ("nft", "nftables"), ("ss", "iproute2")):
        if (name == "ip" or name in programs) and find_program(name) is None:
            pytest.skip(f"no program {name}: apt-get install {package}")


@contextmanager
def network() -> Generator[Network]:
    """Two namespaces and the wire; always deleted."""
    made: list[Namespace] = []
    try:
        try:
            made.append(Namespace())
            made.append(Namespace())
        except subprocess.CalledProcessError as error:
            pytest.skip(f"cannot make network namespaces here: {error.stderr!r}")
        yield Network(*made)
    finally:
        for namespace in made:
            namespace.delete()
