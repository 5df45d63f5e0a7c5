"""The exceptions of TLS. A file of their own, because the module ssl takes longer to load than all the rest."""

from __future__ import annotations

import ssl

from ._exceptions import InterposeError


class TlsError(InterposeError, ssl.SSLError):
    """A certificate or a key cannot be used: it is none, it is broken or encrypted, or both do not belong together.

    >>> from interpose import Tls, TlsError
    >>> try:
    ...     Tls(__import__("os").__file__)
    ... except TlsError as error:
    ...     print("give a PEM file" in str(error))
    True
    """

    __module__ = "interpose"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TlsFileError(InterposeError, OSError):
    """A file of TLS cannot be read or written. `errno` has the operating system's number.

    >>> from interpose import TlsFileError
    >>> issubclass(TlsFileError, OSError)
    True
    """

    __module__ = "interpose"

    def __str__(self) -> str:
        return str(self.strerror or super().__str__())
