"""interpose puts a proxy between a TCP client and its server, at native speed.

    from interpose import TheServer

    TheServer("", 9090, forward_to=("smtp.example.com", 25)).main_loop()

Every name below is loaded when it is first used, so that importing the package, and `interpose --help`,
cost next to nothing. Importing starts no thread.

>>> import interpose
>>> interpose.Forward("smtp.example.com", 25)
Forward('smtp.example.com:25', connect_timeout=10)
"""

# The module typing would cost more than the rest of this file. Type checkers take this name as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import faults, filters, framing, replay, toxiproxy
    from ._by_name import ByName
    from ._client_hello import PASS, ClientHello, Pass
    from ._connection import Connection, Side
    from ._exceptions import (
        AddressError,
        ArgumentTypeError,
        BindError,
        BindPermissionError,
        ConfigError,
        ConnectError,
        ConnectionClosedError,
        ExpectationError,
        ForkError,
        FramingError,
        InterposeError,
        LaneError,
        NoUpstreamError,
        ReadEndError,
        ReadError,
        ReadLimitError,
        ReadTimeoutError,
        RecordError,
        RecvError,
        RecvTimeoutError,
        ReplayError,
        ResolveError,
        RuntimeStartError,
        SendBufferFullError,
        SendTimeoutError,
        ServerStoppedError,
        StartTlsError,
        WaitTimeoutError,
    )
    from ._faulty import faulty
    from ._forward import Forward
    from ._groups import Callbacks, Limits, Listen, Relay, Timeouts
    from ._intercept import Intercept
    from ._preread import MORE, More
    from ._server import TheServer
    from ._stats import CloseReason, ConnectionPhase, Ledger, Stats
    from ._tls import PeerCertificate, Tls, TlsInfo, TlsUpstream
    from ._tls_exceptions import TlsCertificateError, TlsError, TlsFileError

    __version__: str

__all__ = [
    "MORE",
    "PASS",
    "AddressError",
    "ArgumentTypeError",
    "BindError",
    "BindPermissionError",
    "ByName",
    "Callbacks",
    "ClientHello",
    "CloseReason",
    "ConfigError",
    "ConnectError",
    "Connection",
    "ConnectionClosedError",
    "ConnectionPhase",
    "ExpectationError",
    "ForkError",
    "Forward",
    "FramingError",
    "Intercept",
    "InterposeError",
    "LaneError",
    "Ledger",
    "Limits",
    "Listen",
    "More",
    "NoUpstreamError",
    "Pass",
    "PeerCertificate",
    "ReadEndError",
    "ReadError",
    "ReadLimitError",
    "ReadTimeoutError",
    "RecordError",
    "RecvError",
    "RecvTimeoutError",
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
]

_HOMES = {
    "_by_name": ("ByName",),
    "_client_hello": ("PASS", "ClientHello", "Pass"),
    "_connection": ("Connection", "Side"),
    "_faulty": ("faulty",),
    "_stats": ("CloseReason", "ConnectionPhase", "Ledger", "Stats"),
    "_forward": ("Forward",),
    "_groups": ("Callbacks", "Limits", "Listen", "Relay", "Timeouts"),
    "_preread": ("MORE", "More"),
    "_server": ("TheServer",),
    "_intercept": ("Intercept",),
    "_tls": ("PeerCertificate", "Tls", "TlsInfo", "TlsUpstream"),
    "_tls_exceptions": ("TlsCertificateError", "TlsError", "TlsFileError"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "__version__":
        value: object = import_module("interpose._native").version
    elif name in ("faults", "filters", "framing", "replay", "toxiproxy"):
        value = import_module(f"interpose.{name}")
    elif name in __all__:
        home = next((module for module, names in _HOMES.items() if name in names), "_exceptions")
        value = getattr(import_module(f"{__name__}.{home}"), name)
    else:
        raise _no_such(name)
    globals()[name] = value
    return value


def _no_such(name: str) -> Exception:
    import opcode
    import sys

    from ._names import MODULE, nearest

    meant = None if name.startswith("__") else nearest(name, __all__, MODULE)
    advice = f"; did you mean {meant}?" if meant else ""
    # An import would hide the text of an AttributeError.
    caller = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    if meant and caller.f_code.co_code[caller.f_lasti] == opcode.opmap["IMPORT_FROM"]:
        return ImportError(f"cannot import name {name!r} from {__name__!r}{advice}", name=__name__, path=__file__)
    return AttributeError(f"module {__name__!r} has no attribute {name!r}{advice}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
