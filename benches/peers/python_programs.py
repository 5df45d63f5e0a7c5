"""Peers that are Python programs."""

import sys
from pathlib import Path

from .peer import FEW, UNBOUNDED, Command, Peer, Ports

HERE = Path(__file__).parent
# Those that are slow take most of a measurement, or more than it may take, to open thousands of connections.
SLOW = 500


def _script(python: Path, name: str, *arguments: str) -> Command:
    def command(ports: Ports, _: Path) -> list[str]:
        return [str(python), str(HERE / name), str(ports.listen), str(ports.backend), *arguments]

    return command


def _mitmproxy(bin_folder: Path, addon: bool, kind: str = "tcp") -> Command:
    def command(ports: Ports, directory: Path) -> list[str]:
        words = [str(bin_folder / "mitmdump"), "--quiet", "--set", f"confdir={directory}"]
        words += ["--mode", f"reverse:{kind}://127.0.0.1:{ports.backend}@127.0.0.1:{ports.listen}"]
        if kind == "tls":
            words += ["--set", f"ssl_verify_upstream_trusted_ca={ports.certificates / 'ca.pem'}"]
        return [*words, "--scripts", str(HERE / "mitmproxy_addon.py")] if addon else words

    return command


# It asks for the thread's event loop, which its own use of uvloop does not make any more.
PPROXY = """
import asyncio, sys, uvloop
asyncio.set_event_loop(uvloop.new_event_loop())
sys.modules["uvloop"] = None
from pproxy.server import main
main()
"""


def _pproxy(bin_folder: Path) -> Command:
    def command(ports: Ports, _: Path) -> list[str]:
        listen = f"tunnel{{127.0.0.1:{ports.backend}}}://127.0.0.1:{ports.listen}"
        return [str(bin_folder / "python"), "-c", PPROXY, "-l", listen]

    return command


def relays(peers: Path) -> list[Peer]:
    """Give those that relay; `peers` is the folder of programs of their environment."""
    python, here = peers / "python", (sys.executable, "--version")
    return [
        Peer("uvloop", "uvloop Protocol", _script(python, "uvloop_relay.py"), _version(python, "uvloop")),
        Peer("asyncio", "asyncio streams", _script(Path(sys.executable), "asyncio_relay.py"), here),
        Peer("twisted", "Twisted portforward", _script(python, "twisted_relay.py"), _version(python, "twisted"), SLOW),
        Peer("pproxy", "pproxy", _pproxy(peers), _version(python, "pproxy"), SLOW),
        Peer("mitmproxy", "mitmproxy", _mitmproxy(peers, addon=False), _version(python, "mitmproxy"), SLOW),
        Peer(
            "tutorial",
            "the tutorial's algorithm",
            _script(Path(sys.executable), "tutorial_relay.py"),
            here,
            # select() knows no descriptor above 1023.
            most_connections=500,
        ),
    ]


def callbacks(peers: Path) -> list[Peer]:
    """Give those that call a function on every chunk: identity, or one that cuts it in two."""
    python = peers / "python"

    def callback(
        name: str, title: str, command: Command, package: str, most_connections: int, inside: Command | None = None
    ) -> Peer:
        tls = {"inside": inside} if inside else {}
        return Peer(name, title, command, _version(python, package), most_connections, callback=True, tls=tls)

    uvloop = _script(python, "uvloop_relay.py", "callback")
    twisted = _script(python, "twisted_relay.py", "callback")
    tasks = _script(python, "uvloop_relay.py", "async")
    lines, twice = (_script(python, "uvloop_relay.py", how) for how in ("lines", "twice"))
    mitmproxy, inside = _mitmproxy(peers, addon=True), _mitmproxy(peers, addon=True, kind="tls")
    return [
        callback("uvloop-cb", "uvloop Protocol, callback", uvloop, "uvloop", UNBOUNDED),
        callback("uvloop-async", "uvloop Protocol, a task a chunk", tasks, "uvloop", UNBOUNDED),
        callback("uvloop-lines", "uvloop Protocol, head and body in writelines()", lines, "uvloop", FEW),
        callback("uvloop-twice", "uvloop Protocol, head and body in two write()s", twice, "uvloop", FEW),
        callback("twisted-cb", "Twisted portforward, callback", twisted, "twisted", SLOW),
        callback("mitmproxy-cb", "mitmproxy, addon", mitmproxy, "mitmproxy", SLOW, inside),
    ]


def _version(python: Path, package: str) -> tuple[str, ...]:
    text = f"import importlib.metadata as m; print('{package}', m.version('{package}'))"
    return (str(python), "-c", text)
