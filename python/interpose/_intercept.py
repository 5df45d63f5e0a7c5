"""Looking inside TLS: certificates that are made for the names that clients ask for, and the authority of this user."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, cast

from . import _native
from ._checks import flag
from ._exceptions import ConfigError, wrong_type
from ._names import names_checked, table
from ._tls import FilePath, TlsUpstream, common_settings

_ARGUMENTS = table(
    {
        "starttls": "starttlsupgrade opportunistic explicit",
        "upstream": "upstreamtls server target originate",
        "folder": "cafolder confdir datadir directory path ca",
        "truncation": "",
        "handshake_timeout": "timeout",
        "keylog": "keylogfile sslkeylogfile keylogfilename",
        "auto": "optional allowplain plain allowplaintext",
    }
)


class Intercept:
    """Looks inside TLS: `TheServer("", 8443, "db.example:443", tls=Intercept())`.

    A client's hello is read, its upstream is connected with TLS as the client asks for it (name and protocols), and the
    client is shown a certificate that is like the upstream's, issued by an authority of this user. Hooks, framings,
    filters and faults work on what is said inside. Clients have to trust the authority: `interpose ca trust` says how.

    * `upstream`: the TLS with targets that set none themselves. Its certificate is checked, unless that says otherwise.
    * `starttls`: clients begin in plain, as with SMTP, IMAP, POP3, FTP, LDAP, XMPP, PostgreSQL and MySQL. What is said
      goes to the upstream as it is, the request for TLS included, until a client's hello follows it: then TLS begins
      with both. on_client_hello is not called. `conn.start_tls()` is for all else.
    * `folder`: the folder of the authority, whose file is made at its first use, for this user alone. None is
      `interpose` in the user's data folder (`XDG_DATA_HOME`).
    * `truncation`, `handshake_timeout`, `keylog`: as with Tls.
    * `auto`: as with Tls. Clients without TLS go to targets without TLS, unless these have some of their own.

    on_accept comes before the client's handshake, which waits for the upstream. Keys are ECDSA and Ed25519: for an
    upstream with RSA, the client is shown one of ECDSA. Raises TlsFileError for a folder that cannot be read or
    written, TlsError for a file that is no authority, and ArgumentTypeError and ConfigError for the rest.

    >>> import tempfile
    >>> from interpose import Intercept
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(Intercept(folder=folder).certificate.splitlines()[0])
    -----BEGIN CERTIFICATE-----
    """

    __module__ = "interpose"
    __slots__ = ("_auto", "_native", "_upstream")

    @names_checked(_ARGUMENTS)
    def __init__(
        self,
        upstream: TlsUpstream | None = None,
        *,
        starttls: bool = False,
        folder: FilePath | None = None,
        truncation: Literal["reset", "allow"] = "reset",
        handshake_timeout: float = 10.0,
        keylog: FilePath | None = None,
        auto: bool = False,
    ) -> None:
        if upstream is not None and not isinstance(cast("object", upstream), TlsUpstream):
            raise wrong_type("upstream", upstream, "a TlsUpstream", "write TlsUpstream(), or leave it out")
        chosen = TlsUpstream() if upstream is None else upstream
        common = common_settings((), truncation, handshake_timeout, keylog)
        place = os.fspath(_folder(folder))
        self._auto = flag("auto", auto)
        if flag("starttls", starttls) and auto:
            raise ConfigError("auto: with starttls clients begin in plain anyway; leave one of them out")
        self._upstream = chosen
        native = chosen._native  # pyright: ignore[reportPrivateUsage]
        self._native = _native.Intercept(place, native, common, starttls)

    @property
    def certificate(self) -> str:
        """The certificate of the authority, which clients have to trust, in PEM."""
        return self._native.pem

    @property
    def auto(self) -> bool:
        """True if clients without TLS are taken as well."""
        return self._auto

    @property
    def path(self) -> Path:
        """The file of the authority. A reader of its key can pretend to be any server to all that trust it."""
        return Path(self._native.path)

    def __repr__(self) -> str:
        return f"<Intercept with {self.path}>"


def upstream_of(value: Intercept) -> TlsUpstream:
    """Return the TLS with upstreams."""
    return value._upstream  # pyright: ignore[reportPrivateUsage]


def native_intercept(value: Intercept) -> _native.Intercept:
    """Return the native side's twin."""
    return value._native  # pyright: ignore[reportPrivateUsage]


def _folder(given: object) -> Path:
    if given is None:
        return data_folder()
    if not isinstance(given, str | os.PathLike):
        raise wrong_type("folder", given, "a path", 'write one such as "/home/me/authority"')
    path = os.fspath(cast("str | os.PathLike[str]", given))
    if not isinstance(cast("object", path), str) or not path or "\0" in path:
        raise ConfigError("folder: it is no path; write one such as '/home/me/authority'")
    return Path(path)


def data_folder() -> Path:
    """Return the folder for this user's data of interpose (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_DATA_HOME", "")
    # One that is not absolute is to be ignored, says the specification.
    if given and Path(given).is_absolute():
        return Path(given, "interpose")
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigError("folder: this user has no home; set XDG_DATA_HOME, or give the folder") from None
    platform: str = sys.platform
    if platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "interpose")
    if platform == "darwin":
        return home / "Library" / "Application Support" / "interpose"
    return home / ".local" / "share" / "interpose"
