"""What the package gives away, and what it costs to import."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import interpose
import pytest
from support.scripts import finish, passes

PUBLIC = {
    "MORE",
    "More",
    "AddressError",
    "ArgumentTypeError",
    "BindError",
    "BindPermissionError",
    "Callbacks",
    "CloseReason",
    "ConfigError",
    "ConnectError",
    "Connection",
    "ConnectionClosedError",
    "ConnectionPhase",
    "ExpectationError",
    "ForkError",
    "Forward",
    "ByName",
    "ClientHello",
    "PASS",
    "Pass",
    "FramingError",
    "InterposeError",
    "LaneError",
    "ReadEndError",
    "ReadError",
    "ReadLimitError",
    "ReadTimeoutError",
    "RecordError",
    "RecvError",
    "RecvTimeoutError",
    "Ledger",
    "Limits",
    "NoUpstreamError",
    "Listen",
    "PeerCertificate",
    "Relay",
    "ReplayError",
    "ResolveError",
    "RuntimeStartError",
    "SendBufferFullError",
    "SendTimeoutError",
    "ServerStoppedError",
    "Side",
    "StartTlsError",
    "Stats",
    "TheServer",
    "Timeouts",
    "Intercept",
    "Tls",
    "TlsCertificateError",
    "TlsError",
    "TlsFileError",
    "TlsInfo",
    "TlsUpstream",
    "WaitTimeoutError",
    "faults",
    "faulty",
    "filters",
    "framing",
    "replay",
    "toxiproxy",
}


def test_all_is_the_public_api() -> None:
    assert set(interpose.__all__) == PUBLIC
    assert list(interpose.__all__) == sorted(interpose.__all__, key=lambda name: (not name.isupper(), name))
    assert set(dir(interpose)) >= PUBLIC | {"__version__"}


def test_every_name_is_a_documented_class_function_or_module() -> None:
    def is_documented(name: str) -> bool:
        value = getattr(interpose, name)
        if isinstance(value, (interpose.More, interpose.Pass)):
            return repr(value) == f"interpose.{name}"
        wanted = f"interpose.{name}" if isinstance(value, ModuleType) else name
        return isinstance(value, (type, FunctionType, ModuleType)) and value.__name__ == wanted and bool(value.__doc__)

    assert [name for name in sorted(PUBLIC) if not is_documented(name)] == []


def test_the_module_of_framings_is_there_without_an_import(tmp_path: Path) -> None:
    assert passes(tmp_path, "import interpose; print(interpose.framing.lines())") == "framing.lines()\n"
    assert passes(tmp_path, "from interpose.framing import lines; print(lines())") == "framing.lines()\n"
    assert passes(tmp_path, "import interpose.framing as cut; print(cut.lines())") == "framing.lines()\n"


def test_a_star_import_gives_exactly_all() -> None:
    names: dict[str, object] = {}
    exec("from interpose import *", names)
    assert {name for name in names if not name.startswith("__")} == PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TheSerever'"):
        getattr(interpose, "TheSer" + "ever")
    assert not hasattr(interpose, "argparse")


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert interpose.__version__ == version("interpose")


def test_a_package_without_metadata_knows_its_version(tmp_path: Path) -> None:
    """As in a frozen program, which has the package's files alone."""
    shutil.copytree(Path(str(interpose.__file__)).parent, tmp_path / "interpose")
    head = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    for text in (
        "import interpose; print(interpose.__version__)",
        "from interpose._cli import main; main(['--version'])",
    ):
        ended = finish([sys.executable, "-I", "-S", "-c", head + text], tmp_path)
        assert (ended.code, ended.err) == (0, ""), ended
        assert ended.out.split()[-1] == interpose.__version__


def test_a_reload_keeps_the_classes() -> None:
    before = interpose.TheServer
    assert importlib.reload(interpose) is interpose
    assert interpose.TheServer is before


def test_a_reload_after_use_leaves_a_working_package(tmp_path: Path) -> None:
    text = """
        import importlib, interpose
        from support.peers import Echo, connect, echo
        interpose.TheServer("", 0, "example.org:80").start().stop()
        importlib.reload(interpose)
        with Echo() as upstream, interpose.TheServer("", 0, upstream.address) as server:
            with connect(server.address) as sock:
                print(echo(sock, b"after the reload"))
    """
    assert passes(tmp_path, text) == "b'after the reload'\n"


def test_an_import_starts_no_thread_and_loads_nothing_heavy(tmp_path: Path) -> None:
    text = """
        import os, sys, threading
        import interpose
        from_start = {"asyncio", "argparse", "logging", "interpose._native"} & set(sys.modules)
        interpose.TheServer, interpose.Forward, interpose.Connection
        later = {"asyncio", "argparse", "http", "multiprocessing"} & set(sys.modules)
        tasks = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1
        print(sorted(from_start), sorted(later), threading.active_count(), tasks)
    """
    assert passes(tmp_path, text) == "[] [] 1 1\n"


def test_a_server_that_was_not_started_has_no_thread(tmp_path: Path) -> None:
    text = """
        import threading, interpose
        server = interpose.TheServer("", 0, "example.org:80")
        print([thread.name for thread in threading.enumerate()])
        server.stop()
    """
    assert passes(tmp_path, text) == "['MainThread']\n"


def test_the_package_says_that_it_is_typed() -> None:
    folder = Path(str(interpose.__file__)).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_native.pyi").exists()
