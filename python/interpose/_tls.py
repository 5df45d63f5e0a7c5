"""TLS: the settings of a listener and of a target, and the properties of a side that speaks it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from . import _native
from ._checks import choice, flag, seconds
from ._exceptions import ConfigError, wrong_type
from ._names import names_checked, table

if TYPE_CHECKING:
    from datetime import datetime

FilePath: TypeAlias = str | os.PathLike[str]
"""The types of a path."""

_ARGUMENTS = table(
    {
        "cert": "certificate certfile crt certchain chain pem",
        "key": "keyfile privatekey",
        "client_ca": "clientcafile cacert clientcas verifyclient",
        "client_crl": "clientcrlfile revokedclients",
        "crl": "crlfile crls revoked revocationlist revocations",
        "ca": "cafile cabundle cacerts roots trust",
        "server_name": "sni hostname servername checkhostname",
        "verify": "insecure verifymode certreqs skipverify",
        "alpn": "alpnprotocols protocols nextprotos",
        "keylog": "keylogfile sslkeylogfile keylogfilename",
        "handshake_timeout": "timeout",
        "more": "others certs pairs additional",
        "auto": "optional allowplain plain allowplaintext",
    }
)

_Common: TypeAlias = tuple[list[bytes], bool, float, str | None]
_Trust: TypeAlias = tuple[str | None, str | None, bool, str | None]


class Tls:
    """The TLS that a server speaks with its clients: `TheServer(..., tls=Tls("server.crt", "server.key"))`.

    * `cert`: the file of the certificate and of those above it, its own first, in PEM.
    * `key`: the file of its key, without a password. None takes that of the certificate.
    * `more`: further pairs `(cert, key)`. A client gets the first that is for the name which it asks for, else `cert`.
    * `client_ca`: the file of the issuers of client certificates. With it, each client needs one.
    * `client_crl`: the file of the lists of revoked ones, as `crl` of a TlsUpstream.
    * `alpn`: the protocols that are offered, the preferred first, such as `["h2", "http/1.1"]`.
    * `truncation`: what it means when a client ends without the notice that TLS has for it: `"reset"`, because the
      rest may be missing, or `"allow"`, an end like others.
    * `handshake_timeout`: seconds that a handshake may take.
    * `keylog`: a file that gets the secrets of each session, with which Wireshark decrypts captures. A thread writes
      it: a slow disk holds up no handshake, and what it cannot take is left out, counted and said.
    * `auto`: True also takes clients that do not begin with TLS, as they are; one that says nothing, because the server
      is to speak first, after `Callbacks.preread_timeout`.

    Files that change are read again within a few seconds, for new clients; if they do not fit together, the log says
    so and the old ones stay. Raises TlsFileError for files that cannot be read, TlsError for what is in them, and
    ArgumentTypeError and ConfigError for the rest.

    >>> from interpose import Tls, TlsFileError
    >>> try:
    ...     Tls("missing.crt", "missing.key")
    ... except TlsFileError as error:
    ...     print(error)
    cert missing.crt: no such file or directory; give the path of a file that exists
    """

    __module__ = "interpose"
    __slots__ = ("_auto", "_native", "_shown")

    @names_checked(_ARGUMENTS)
    def __init__(
        self,
        cert: FilePath,
        key: FilePath | None = None,
        *,
        more: Sequence[tuple[FilePath, FilePath]] = (),
        client_ca: FilePath | None = None,
        client_crl: FilePath | None = None,
        alpn: Sequence[str] = (),
        truncation: Literal["reset", "allow"] = "reset",
        handshake_timeout: float = 10.0,
        keylog: FilePath | None = None,
        auto: bool = False,
    ) -> None:
        first = _pair(cert, key)
        pairs = [first, *_pairs(more)]
        common = common_settings(alpn, truncation, handshake_timeout, keylog)
        of_clients = _path_or_none("client_ca", client_ca), _path_or_none("client_crl", client_crl)
        self._native = _native.Tls(pairs, of_clients, common)
        self._shown = first
        self._auto = flag("auto", auto)

    @property
    def auto(self) -> bool:
        """True if clients without TLS are taken as well."""
        return self._auto

    def __repr__(self) -> str:
        return f"Tls({self._shown[0]!r}, {self._shown[1]!r})"


class TlsUpstream:
    """The TLS that is spoken with an upstream: `Forward("db", 5432, tls=TlsUpstream())`.

    * `ca`: the file of the issuers that are trusted, in PEM, or of the upstream's own certificate. None trusts those
      that this machine does.
    * `server_name`: the name that its certificate must be for, and that it is asked for. None is the target's host.
    * `cert`, `key`: the files of the certificate that is shown to an upstream which demands one. Without `key`, that
      is in `cert`.
    * `crl`: the file of lists of revoked certificates (CRL), in PEM. With it, a certificate is only accepted if its
      issuer's list, which has to be in date, does not have it; and likewise those above it.
    * `verify`: False accepts any certificate, and anyone in between can read and change everything. It is warned
      about once.
    * `alpn`, `truncation`, `handshake_timeout`, `keylog`: as with Tls.

    It cannot be changed, and compares by value. Raises as Tls does.

    >>> from interpose import Forward, TlsUpstream
    >>> Forward("db.example.com", 5432, tls=TlsUpstream(alpn=["postgresql"])).address
    ('db.example.com', 5432)
    """

    __module__ = "interpose"
    __slots__ = ("_native", "_settings")

    @names_checked(_ARGUMENTS)
    def __init__(
        self,
        ca: FilePath | None = None,
        server_name: str | None = None,
        cert: FilePath | None = None,
        key: FilePath | None = None,
        *,
        crl: FilePath | None = None,
        alpn: Sequence[str] = (),
        verify: bool = True,
        truncation: Literal["reset", "allow"] = "reset",
        handshake_timeout: float = 10.0,
        keylog: FilePath | None = None,
    ) -> None:
        if cert is None and key is not None:
            raise ConfigError("cert: it is missing, and the key is not; give both")
        if server_name is not None and not isinstance(cast("object", server_name), str):
            raise wrong_type("server_name", server_name, "a text", 'write a name such as "db.example.com"')
        pair = None if cert is None else _pair(cert, key)
        common = common_settings(alpn, truncation, handshake_timeout, keylog)
        trust = (_path_or_none("ca", ca), server_name, flag("verify", verify), _path_or_none("crl", crl))
        self._native = _native.TlsUpstream(trust, pair, common)
        self._settings = (trust, pair, common)
        if not verify:
            _warn_unverified()

    def __repr__(self) -> str:
        (ca, server_name, verify, crl), pair, _ = self._settings
        given = (("ca", ca), ("server_name", server_name), ("crl", crl))
        parts = [f"{name}={value!r}" for name, value in given if value is not None]
        parts += [f"cert={pair[0]!r}", f"key={pair[1]!r}"] if pair else []
        parts += [] if verify else ["verify=False"]
        return f"TlsUpstream({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return self._settings == other._settings if isinstance(other, TlsUpstream) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self._settings))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, self._settings


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The certificate that a side has shown; see `TlsInfo`. What cannot be read of it is empty, or None.

    >>> from interpose import PeerCertificate
    >>> PeerCertificate("-----BEGIN ...", "CN=db", "CN=Example CA", ("db.example.com",), None, None).names
    ('db.example.com',)
    """

    pem: str
    """The certificate in PEM."""
    subject: str
    """The one that it is for, such as `"CN=db.example.com, O=Example"`."""
    issuer: str
    """The one that has signed it, written likewise."""
    names: tuple[str, ...]
    """The host names, IP addresses, addresses of mail and URIs that it is for."""
    begins: datetime | None
    """The first second in which it is good, in UTC."""
    ends: datetime | None
    """The last one."""

    __module__ = "interpose"


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """The properties of a side's TLS, as its handshake settled them; see `Side.tls`.

    >>> from interpose import TlsInfo
    >>> TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", "db.example.com", None, None, False).version
    'TLSv1.3'
    """

    version: str
    """`"TLSv1.2"` or `"TLSv1.3"`."""
    cipher: str
    """The cipher suite by its registered name."""
    server_name: str | None
    """The name that was asked for (SNI), or None."""
    alpn: str | None
    """The protocol that both have agreed on, or None."""
    peer_certificate: PeerCertificate | None
    """The certificate that the peer has shown, or None."""
    resumed: bool
    """True if an earlier session was continued."""

    __module__ = "interpose"


def info_of(native: _native.Connection, is_client: bool) -> TlsInfo | None:
    """Return the properties of the TLS of a side, or None."""
    found = _native.tls_of(native, is_client)
    if found is None:
        return None
    version, cipher, server_name, alpn, pem, properties, resumed = found
    name = None if alpn is None else alpn.decode("latin-1")
    return TlsInfo(version, cipher, server_name, name, _certificate(pem, properties), resumed)


def _certificate(pem: str | None, properties: tuple[str, str, list[str], int, int] | None) -> PeerCertificate | None:
    if pem is None:
        return None
    if properties is None:
        return PeerCertificate(pem, "", "", (), None, None)
    # Only where somebody asks.
    from datetime import UTC, datetime, timedelta

    subject, issuer, names, begins, ends = properties
    first = datetime(1970, 1, 1, tzinfo=UTC)
    return PeerCertificate(
        pem, subject, issuer, tuple(names), first + timedelta(seconds=begins), first + timedelta(seconds=ends)
    )


def native_tls(value: object) -> _native.Tls | None:
    """Return the native side's twin of a server's `tls`, or raise for what is none."""
    if value is None:
        return None
    if isinstance(value, Tls):
        return value._native  # pyright: ignore[reportPrivateUsage]
    advice = "put it in forward_to=Forward(..., tls=...)" if isinstance(value, TlsUpstream) else "write Tls(cert, key)"
    raise wrong_type("tls", value, "a Tls", advice)


def native_tls_upstream(value: object) -> _native.TlsUpstream | None:
    """Return the native side's twin of a Forward's `tls`, or raise for what is none."""
    if value is None:
        return None
    if isinstance(value, TlsUpstream):
        return value._native  # pyright: ignore[reportPrivateUsage]
    advice = "give it to TheServer(..., tls=...)" if isinstance(value, Tls) else "write TlsUpstream()"
    raise wrong_type("tls", value, "a TlsUpstream", advice)


def _rebuilt(trust: _Trust, pair: tuple[str, str] | None, common: _Common) -> TlsUpstream:
    cert, key = pair or (None, None)
    names, allows, limit, keylog = common
    return TlsUpstream(
        trust[0],
        trust[1],
        cert,
        key,
        verify=trust[2],
        crl=trust[3],
        alpn=[name.decode("latin-1") for name in names],
        truncation="allow" if allows else "reset",
        handshake_timeout=limit,
        keylog=keylog,
    )


def common_settings(alpn: object, truncation: object, handshake_timeout: object, keylog: object) -> _Common:
    """Return what both ends have, checked."""
    allows = choice("truncation", truncation, ("reset", "allow")) == "allow"
    limit = seconds("handshake_timeout", handshake_timeout)
    if keylog is not None:
        _wait_for_secrets()
    return _protocols(alpn), allows, limit, _path_or_none("keylog", keylog)


# The process in which the end of a server waits for the files of secrets.
_waiting = [0]


def _wait_for_secrets() -> None:
    """Have the ends of servers, and of the process, wait until the secrets of sessions are written."""
    if _waiting[0] != os.getpid():
        from ._settling import register

        _waiting[:] = [os.getpid()]
        register(_native.settle_secrets, lambda _: None, _native.missed_secrets)


def _protocols(alpn: object) -> list[bytes]:
    if alpn is None:
        return []
    if not isinstance(alpn, (list, tuple)):
        raise wrong_type("alpn", alpn, "a list of texts", 'write ["h2", "http/1.1"]')
    names: list[bytes] = []
    for name in cast("list[object] | tuple[object, ...]", alpn):
        if not isinstance(name, str):
            raise wrong_type("alpn", name, "a text", 'write ["h2", "http/1.1"]')
        try:
            names.append(name.encode("latin-1"))
        except UnicodeEncodeError:
            raise ConfigError(f"alpn: {name!r} is no name of a protocol; write such as 'h2'") from None
    return names


def _path(name: str, value: object) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise wrong_type(name, value, "a path", 'write one such as "server.pem"')
    path = os.fspath(cast("str | os.PathLike[str]", value))
    if not isinstance(cast("object", path), str) or not path or "\0" in path:
        raise ConfigError(f"{name}: it is no path of a file; write one such as 'server.pem'")
    return path


def _path_or_none(name: str, value: object) -> str | None:
    return None if value is None else _path(name, value)


def _pair(cert: object, key: object) -> tuple[str, str]:
    certificate = _path("cert", cert)
    return certificate, certificate if key is None else _path("key", key)


def _pairs(more: object) -> list[tuple[str, str]]:
    if not isinstance(more, (list, tuple)):
        raise wrong_type("more", more, "a list of pairs", "write [(cert, key), ...]")
    found: list[tuple[str, str]] = []
    for pair in cast("list[object] | tuple[object, ...]", more):
        is_pair = isinstance(pair, (list, tuple))
        parts = cast("tuple[object, ...]", pair) if is_pair else ()
        if len(parts) != 2:
            raise wrong_type("more", pair, "a pair", "write [(cert, key), ...]")
        found.append(_pair(*parts))
    return found


_warned = False


def _warn_unverified() -> None:
    """Warn once about an upstream that may be anyone."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "verify=False: the upstream may be anyone, and whoever is in between reads and changes everything; "
            "give its certificate or issuer as ca instead",
            RuntimeWarning,
            stacklevel=3,
        )
