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

    # Those that read an ssl.SSLError of Python's own find them.
    library = "SSL"
    reason = ""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TlsCertificateError(TlsError, ssl.SSLCertVerificationError):
    """The certificate that a side has shown is not accepted; see `Connection.tls_error`.

    `verify_code` is OpenSSL's number for it, such as 10 for one that has expired, 20 for an issuer that is not trusted,
    23 for one that was revoked, 62 for another name and 64 for another address; `verify_message` is the text.

    >>> import ssl
    >>> from interpose import TlsCertificateError
    >>> issubclass(TlsCertificateError, ssl.SSLCertVerificationError)
    True
    """

    __module__ = "interpose"

    reason = "CERTIFICATE_VERIFY_FAILED"
    verify_code = 0
    verify_message = ""


def tls_error_of(text: str, fault: int | None) -> TlsError:
    """Return the exception for the end of a connection whose TLS has failed; `fault` is that of a certificate."""
    if fault is None:
        return TlsError(text)
    error = TlsCertificateError(text)
    error.verify_code, error.verify_message = fault, text
    return error


class TlsFileError(InterposeError, OSError):
    """A file of TLS cannot be read or written. `errno` has the operating system's number.

    >>> from interpose import TlsFileError
    >>> issubclass(TlsFileError, OSError)
    True
    """

    __module__ = "interpose"

    def __str__(self) -> str:
        return str(self.strerror or super().__str__())
