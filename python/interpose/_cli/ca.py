"""`interpose ca`: the authority of this user, which issues what clients are shown with --intercept."""

from __future__ import annotations

import hashlib
import shlex
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from .._exceptions import ConfigError
from .._intercept import Intercept, native_intercept
from .arguments import read_words
from .commands import command_of
from .console import OK, say

_TRUST = """\
Programs trust what the authority issues where they are told to. First write its certificate down:

  interpose ca export > interpose-ca.pem

one command         curl       curl --cacert interpose-ca.pem https://...
                    Python     SSL_CERT_FILE=interpose-ca.pem python ...
                    requests   REQUESTS_CA_BUNDLE=interpose-ca.pem python ...
                    Node.js    NODE_EXTRA_CA_CERTS=interpose-ca.pem node ...
                    psql       psql "sslmode=verify-full sslrootcert=interpose-ca.pem host=..."
                    redis-cli  redis-cli --tls --cacert interpose-ca.pem ...
                    Java       keytool -importcert -noprompt -alias interpose -file interpose-ca.pem
                                 -keystore interpose.p12 -storepass changeit, and
                                 java -Djavax.net.ssl.trustStore=interpose.p12 ...
a browser           Firefox    Settings, Certificates, View Certificates, Authorities, Import
                    Chromium   Settings, Privacy and security, Security, Manage certificates, Authorities
all of Debian       cp interpose-ca.pem /usr/local/share/ca-certificates/interpose.crt
                    update-ca-certificates
all of Fedora       trust anchor interpose-ca.pem
macOS               security add-trusted-cert -k login.keychain interpose-ca.pem
Windows             certutil -user -addstore Root interpose-ca.pem

Prefer what is for one command: whoever reads {path}
can pretend to be any server to whatever trusts it. Take it away again where you are done:

Debian              rm /usr/local/share/ca-certificates/interpose.crt; update-ca-certificates --fresh
Fedora              trust anchor --remove interpose-ca.pem
macOS               security delete-certificate -c "interpose of this user"
Windows             certutil -user -delstore Root "interpose of this user"
a browser, Java     where it was added
the authority       rm {path}"""


def run(words: Sequence[str]) -> int:
    """Show the authority, its certificate, or how it comes to be trusted."""
    row = command_of(["ca"])
    given = read_words(row, words)
    what = given.places[0] if given.places else "show"
    if what not in row.choices:
        raise ConfigError(f"ca: there is no {what!r}; there are {', '.join(row.choices)}")
    file = given.options.get("--der")
    if file is not None and what != "export":
        raise ConfigError("--der: it is for interpose ca export; write interpose ca export --der FILE")
    authority = Intercept()
    if what == "trust":
        say(_TRUST.format(path=shlex.quote(f"{authority.path}")))
    elif what == "show":
        _show(authority)
    elif file is None:
        say(authority.certificate.rstrip("\n"))
    else:
        _write(f"{file}", ssl.PEM_cert_to_DER_cert(authority.certificate))
    return OK


def _show(authority: Intercept) -> None:
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.certificate)).hexdigest().upper()
    pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    expires = datetime.fromtimestamp(native_intercept(authority).expires, tz=UTC)
    say(f"file     {authority.path}")
    say(f"sha256   {pairs}")
    say(f"expires  {expires:%Y-%m-%d}")
    say("interpose ca export prints the certificate; interpose ca trust says who has to know it, and how")


def _write(file: str, data: bytes) -> None:
    try:
        Path(file).write_bytes(data)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"--der: {file}: {why}; give a file that can be written") from error
