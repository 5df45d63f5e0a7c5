"""Certificates that are made for tests."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import cast

from .._exceptions import ConfigError, wrong_type
from .._intercept import Intercept, native_intercept

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class Certificates:
    """Certificates for tests, of an issuer that is made for them: `Certificates(tmp_path)`.

    Clients, and upstreams that demand certificates, trust the file `ca`; `pair()` makes a certificate that either may
    show, also one that has expired. All files lie in the folder. Tests of pytest get one from the fixture
    `tcp_certificates`, for the whole session. Raises TlsFileError for a folder that cannot be written to.

    >>> import socket, ssl, tempfile
    >>> from interpose import Tls
    >>> from interpose.testing import Certificates, Proxy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     certificates = Certificates(folder)
    ...     with Proxy("127.0.0.1:7070", tls=Tls(*certificates.pair())) as proxy:
    ...         context = ssl.create_default_context(cafile=certificates.ca)
    ...         wire = socket.create_connection(proxy.address)
    ...         with context.wrap_socket(wire, server_hostname="localhost") as client:
    ...             client.sendall(b"hello")
    ...             print(proxy.wait_for(b"hello", direction="to_client").data)
    b'hello'
    """

    __module__ = "interpose.testing"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._authority = Intercept(folder=folder)
        self._folder = self._authority.path.parent
        self._ca = self._folder / "ca.crt"
        self._ca.write_text(self._authority.certificate)

    @property
    def ca(self) -> Path:
        """The file of the issuer's certificate, without its key."""
        return self._ca

    def pair(self, *names: str, begins: datetime | None = None, ends: datetime | None = None) -> tuple[Path, Path]:
        """Return the files of a new certificate for `names`, and of its key.

        * `names`: host names, `*.` before one too, and IP addresses; without any `localhost`, `127.0.0.1` and `::1`.
        * `begins`, `ends`: the first and the last second in which it is good. None is yesterday, and in 90 days.

        With only one of them given, the other is on its right side. Raises ConfigError for what is no name, and for an
        end before the beginning.
        """
        for name in names:
            if not isinstance(cast("object", name), str):
                raise wrong_type("names", name, "a text", 'write one such as "localhost"')
        times = [None if time is None else _seconds(name, time) for name, time in (("begins", begins), ("ends", ends))]
        texts = native_intercept(self._authority).pair(list(names or _THIS_MACHINE), *times)
        stem = secrets.token_hex(4)
        cert, key = (self._folder / f"{stem}.{kind}" for kind in ("crt", "key"))
        for path, text in zip((cert, key), texts, strict=True):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
        return cert, key

    def __repr__(self) -> str:
        return f"<Certificates in {self._folder}>"


def _seconds(name: str, time: datetime) -> int:
    if not isinstance(cast("object", time), datetime):
        raise wrong_type(name, time, "a datetime", "write one such as datetime.now(UTC) + timedelta(days=1)")
    try:
        return int(time.timestamp())
    except (OverflowError, ValueError) as error:
        # Without a zone it is local time, which the first and the last year may not have.
        raise ConfigError(f"{name}: {time} cannot be a local time; give it a zone, such as tzinfo=UTC") from error
