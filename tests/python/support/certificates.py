"""Certificates that are made for one run of the tests, by openssl, and never kept."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in files."""

    cert: Path
    key: Path


def openssl(*arguments: str | Path) -> None:
    """Run openssl to its end; skip the test where there is none."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


def self_signed(folder: Path, name: str = "localhost", *, more: str = "IP:127.0.0.1") -> Certificate:
    """Make a certificate for a name that nobody has signed but itself."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    names = f"subjectAltName=DNS:{name}" + (f",{more}" if more else "")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", made.key)
    openssl("req", "-x509", *key, "-out", made.cert, "-days", "1", "-subj", f"/CN={name}", "-addext", names)
    return made


def signed(folder: Path, name: str, issuer: Certificate) -> Certificate:
    """Make a certificate for a name that `issuer` has signed."""
    made, request = Certificate(folder / f"{name}.crt", folder / f"{name}.key"), folder / f"{name}.csr"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", made.key)
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    openssl("req", "-new", *key, "-out", request, *names)
    by = ("-CA", issuer.cert, "-CAkey", issuer.key, "-CAcreateserial", "-copy_extensions", "copy")
    openssl("x509", "-req", "-in", request, "-out", made.cert, "-days", "1", *by)
    return made


def trusting(certificate: Certificate, own: Certificate | None = None) -> ssl.SSLContext:
    """Return a client's context that trusts this certificate alone, and shows `own`."""
    context = ssl.create_default_context(cafile=str(certificate.cert))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def serving(certificate: Certificate) -> ssl.SSLContext:
    """Return a server's context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    return context


_CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {issuer.cert}
private_key = {issuer.key}
default_md = sha256
default_days = 1
default_crl_days = 1
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """An issuer that keeps account: it revokes what it has signed, and signs for other times than now."""

    def __init__(self, folder: Path, name: str = "issuer") -> None:
        self._folder = folder
        self.own = self_signed(folder, name, more="")
        self._config = folder / "ca.conf"
        self._config.write_text(_CONFIG.format(folder=folder, issuer=self.own))
        (folder / "index").touch()
        for counter in ("serial", "crlnumber"):
            (folder / counter).write_text("1000\n")

    def sign(self, name: str = "localhost", *times: str) -> Certificate:
        """Make a certificate for a name; `times`: options such as `-enddate`, `20200102000000Z`."""
        made, request = (
            Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key"),
            self._folder / f"{name}.csr",
        )
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", made.key)
        openssl("req", "-new", *key, "-out", request, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        self._do("-batch", "-notext", "-in", request, "-out", made.cert, *times)
        return made

    def revoke(self, certificate: Certificate) -> None:
        """Revoke a certificate that it has signed."""
        self._do("-revoke", certificate.cert)

    def revoked(self, *times: str) -> Path:
        """Return the list of what it has revoked so far; `times`: options such as `-crl_nextupdate`, a time."""
        path = self._folder / "revoked.crl"
        self._do("-gencrl", "-out", path, *times)
        return path

    def _do(self, *arguments: str | Path) -> None:
        openssl("ca", "-config", self._config, *arguments)
