"""`interpose doctor`: what this system allows a proxy, and what to do where that is little."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .._groups import Listen
from .arguments import read_words
from .commands import command_of
from .console import OK, say

# A text like any other: type checkers would leave out what other systems have.
_platform: str = sys.platform
_FEW_DESCRIPTORS = 8192
_FEW_PORTS = 20_000
_PIPE_BYTES = 1024 * 1024
_SMALL_BUFFER = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact: its name and value, whether it is good as it is, and what to do if not."""

    name: str
    value: str
    is_good: bool
    remedy: str = ""


def run(words: Sequence[str]) -> int:
    """Show what was found; return 0, because nothing here keeps a proxy from working."""
    given = read_words(command_of(["doctor"]), words)
    found = findings()
    if "--json" in given.options:
        say(json.dumps([asdict(one) for one in found], indent=2))
        return OK
    width = max(len(one.name) for one in found)
    for one in found:
        say(f"{'ok ' if one.is_good else 'low'}  {one.name:<{width}}  {one.value}")
        if not one.is_good:
            say(f"     {'':<{width}}  {one.remedy}")
    return OK


def findings() -> list[Finding]:
    """Return what this system has of everything that matters here."""
    looks: list[Callable[[], Finding | None]] = [
        _descriptors,
        _backlog,
        _ports,
        _ipv6,
        _splice,
        _pipe_size,
        _pipe_pages,
        _congestion,
        _kernel_tls,
        lambda: _buffer("tcp_rmem", "receive"),
        lambda: _buffer("tcp_wmem", "send"),
    ]
    return [found for look in looks if (found := look()) is not None]


def _sysctl(name: str) -> str | None:
    """Return a kernel's value, None where there is none of that name."""
    if _platform == "linux":
        try:
            return Path("/proc/sys", *name.split(".")).read_text("ascii").strip()
        except OSError:
            return None
    if _platform == "darwin":
        ended = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False, timeout=5)
        return ended.stdout.strip() or None
    return None


def _descriptors() -> Finding | None:
    if _platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard}"
    most = 10_000 if hard == resource.RLIM_INFINITY else min(10_000, max(0, (hard - 64) // 2))
    value = f"soft {soft}, hard {shown}: {most} connections (the command raises soft to hard)"
    remedy = "raise the hard limit: LimitNOFILE=65536 in a systemd unit, or ulimit -Hn 65536 as root"
    return Finding("open files", value, hard == resource.RLIM_INFINITY or hard >= _FEW_DESCRIPTORS, remedy)


def _backlog() -> Finding | None:
    name = "net.core.somaxconn" if _platform == "linux" else "kern.ipc.somaxconn"
    text = _sysctl(name)
    wanted = Listen().backlog
    if text is None or not text.isdecimal():
        return None
    remedy = f"clients beyond it are refused in a rush: sysctl -w {name}=4096"
    return Finding("somaxconn", f"{text} clients may wait (backlog: {wanted})", int(text) >= wanted, remedy)


def _ports() -> Finding | None:
    if _platform == "darwin":
        words = [_sysctl(f"net.inet.ip.portrange.{end}") or "" for end in ("first", "last")]
        remedy = "sysctl -w net.inet.ip.portrange.first=16384"
    else:
        words = (_sysctl("net.ipv4.ip_local_port_range") or "").split()
        remedy = 'sysctl -w net.ipv4.ip_local_port_range="16384 65535"'
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    first, last = map(int, words)
    value = f"{first} to {last}: {last - first + 1} connections to one address of an upstream"
    return Finding("local ports", value, last - first + 1 >= _FEW_PORTS, remedy)


def _ipv6() -> Finding:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        remedy = "localhost listens on 127.0.0.1 alone: sysctl -w net.ipv6.conf.all.disable_ipv6=0"
        return Finding("IPv6", f"no ::1 ({error.strerror})", is_good=False, remedy=remedy)
    return Finding("IPv6", "::1 can be listened on", is_good=True)


def _splice() -> Finding | None:
    if _platform != "linux":
        return None
    from_read, from_write = os.pipe()
    to_read, to_write = os.pipe()
    try:
        os.write(from_write, b"x")
        # Each Python has it where the system's library did.
        moved = os.splice(from_read, to_write, 1) if hasattr(os, "splice") else 1
    except OSError as error:
        remedy = "bytes are copied, at more CPU: let the sandbox (seccomp) allow splice(2)"
        return Finding("splice", f"refused ({error.strerror})", is_good=False, remedy=remedy)
    finally:
        for descriptor in (from_read, from_write, to_read, to_write):
            os.close(descriptor)
    return Finding("splice", "works: directions that stream are not copied", moved == 1)


def _pipe_size() -> Finding | None:
    text = _sysctl("fs.pipe-max-size") if _platform == "linux" else None
    if text is None:
        return None
    remedy = f"splices move less at once: sysctl -w fs.pipe-max-size={_PIPE_BYTES}"
    return Finding("pipe-max-size", f"{text} bytes", int(text) >= _PIPE_BYTES or _is_root(), remedy)


def _pipe_pages() -> Finding | None:
    soft = _sysctl("fs.pipe-user-pages-soft") if _platform == "linux" else None
    hard = _sysctl("fs.pipe-user-pages-hard") if _platform == "linux" else None
    if soft is None or hard is None:
        return None
    is_good = _is_root() or all(int(one) == 0 or int(one) >= 16384 for one in (soft, hard))
    remedy = "pipes of a user become small beyond it: sysctl -w fs.pipe-user-pages-soft=16384"
    return Finding("pipe-user-pages", f"soft {soft}, hard {hard} (0: no limit)", is_good, remedy)


def _congestion() -> Finding | None:
    text = _sysctl("net.ipv4.tcp_congestion_control")
    if text is None:
        return None
    there = (_sysctl("net.ipv4.tcp_available_congestion_control") or text).split()
    remedy = "it is slow to fill a long path: sysctl -w net.ipv4.tcp_congestion_control=cubic"
    return Finding("congestion control", f"{text} (there are {', '.join(there)})", text in ("cubic", "bbr"), remedy)


def _kernel_tls() -> Finding | None:
    text = _sysctl("net.ipv4.tcp_available_ulp") if _platform == "linux" else None
    if text is None:
        return None
    is_there = "tls" in text.split()
    remedy = "only TLS in the kernel needs it, and nothing here does yet: modprobe tls"
    return Finding("kernel TLS", "there" if is_there else "not loaded", is_there, remedy)


def _buffer(name: str, what: str) -> Finding | None:
    words = (_sysctl(f"net.ipv4.{name}") or "").split()
    if len(words) != 3:
        return None
    low, default, most = words
    remedy = f'one connection over a long path stays slow: sysctl -w net.ipv4.{name}="{low} {default} {_SMALL_BUFFER}"'
    value = f"{what} buffer: {default} bytes, up to {most}"
    return Finding(name, value, int(most) >= _SMALL_BUFFER, remedy)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
