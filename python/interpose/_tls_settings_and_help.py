"""The table of settings, second part: TLS with clients and with upstreams, for the command.

Programs have the classes Tls and TlsUpstream, whose arguments have the same names.
"""

from __future__ import annotations

from ._kinds import Choice, FileName, Seconds, ServerName, Switch, Texts
from ._rows import group, setting

# Type checkers take this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


@group("tls", "speaking TLS with clients", "TheServer(..., tls=Tls({}=...))")
class Terminating:
    """The TLS of a listener."""

    cert: tuple[str, ...] = setting(
        default=(),
        kind=Texts("FILE", "server.crt"),
        flag="--tls-cert",
        others="certificate certfile crt certchain chain pem",
        help="speak TLS with this certificate; may be repeated",
        meaning="the file of the certificate that clients are shown, and of those above it, in PEM. With several, a "
        "client gets the first that is for the name which it asks for, else the first",
    )
    key: tuple[str, ...] = setting(
        default=(),
        kind=Texts("FILE", "server.key"),
        flag="--tls-key",
        others="keyfile privatekey",
        help="its key; one for each --tls-cert, in their order",
        meaning="the file of the key of each certificate, in their order, without a password. Left out, each is in "
        "the file of its certificate",
    )
    client_ca: str | None = setting(
        default=None,
        kind=FileName("clients-ca.crt"),
        flag="--tls-client-ca",
        others="clientcafile cacert clientcas verifyclient",
        help="demand client certificates of these issuers",
        meaning="the file of the issuers of client certificates. With it each client needs one",
    )
    client_crl: str | None = setting(
        default=None,
        kind=FileName("clients.crl"),
        flag="--tls-client-crl",
        others="clientcrlfile revokedclients",
        help="refuse client certificates that these lists have",
        meaning="the file of lists of revoked client certificates (CRL), in PEM, as `upstream.crl`",
    )
    alpn: tuple[str, ...] = setting(
        default=(),
        kind=Texts("NAME", "http/1.1"),
        flag="--tls-alpn",
        others="alpnprotocols protocols nextprotos",
        help="a protocol that is offered (ALPN); may be repeated",
        meaning='the protocols that clients are offered (ALPN), the preferred first, such as `["h2", "http/1.1"]`. A '
        "client that offers others only is refused",
    )
    intercept: bool = setting(
        default=False,
        kind=Switch(),
        flag="--intercept",
        others="mitm lookinside decrypt",
        help="look inside: certificates are made for what clients ask for",
        meaning="look inside TLS: the client is shown a certificate for the name that it asks for, which the authority "
        "of this user issues (`interpose ca`), and TARGET is spoken TLS with as the client asks for it",
    )
    auto: bool = setting(
        default=False,
        kind=Switch(),
        flag="--tls-auto",
        others="optional allowplain plain allowplaintext",
        help="take clients without TLS at the same port, too",
        meaning="take clients that do not begin with TLS as they are, at the same port. One that says nothing, because "
        "the server is to speak first, waits for `callbacks.preread_timeout`",
    )
    starttls: bool = setting(
        default=False,
        kind=Switch(),
        flag="--starttls",
        others="opportunistic explicit",
        help="look inside TLS that begins behind plaintext",
        meaning="look inside TLS that begins behind plaintext (STARTTLS): as with SMTP, IMAP, POP3, FTP, LDAP, XMPP, "
        "PostgreSQL and MySQL, clients begin in plain, and TLS begins with both sides at the client's hello. It stands "
        "for `--intercept` too",
    )
    truncation: Literal["reset", "allow"] = setting(
        default="reset",
        kind=Choice("reset", "allow"),
        flag="--tls-truncation",
        help="what an end without close_notify is taken for",
        meaning="what it means when a client ends without the notice that TLS has for it (close_notify): `reset`, "
        "because the rest may be missing, or `allow`, an end like others",
    )
    handshake_timeout: float = setting(
        default=10.0,
        kind=Seconds(),
        meaning="how long a client's handshake may take. At the limit: reset, `handshake_timeout`",
    )
    keylog: str | None = setting(
        default=None,
        kind=FileName("keys.log"),
        flag="--keylog",
        others="keylogfile sslkeylogfile keylogfilename",
        help="a file that gets the secrets of TLS, for Wireshark",
        meaning="the file that gets the secrets of each session, of clients and of upstreams, with which Wireshark "
        "decrypts captures. Whoever reads it reads all that was said, so a variable alone does not turn it on",
    )


@group("upstream", "speaking TLS with TARGET (tls://HOST:PORT)", "forward_to=Forward(..., tls=TlsUpstream({}=...))")
class Originating:
    """The TLS with a target."""

    ca: str | None = setting(
        default=None,
        kind=FileName("ca.crt"),
        flag="--upstream-ca",
        others="cafile cabundle cacerts roots trust",
        help="trust these issuers only, or this very certificate",
        meaning="the file of the issuers that are trusted, or of the upstream's own certificate, in PEM; left out, "
        "those that this machine trusts",
    )
    crl: str | None = setting(
        default=None,
        kind=FileName("revoked.crl"),
        flag="--upstream-crl",
        others="crlfile crls revoked revocationlist revocations",
        help="refuse certificates that these lists have (CRL)",
        meaning="the file of lists of revoked certificates (CRL), in PEM. With it, a certificate is only accepted if "
        "its issuer's list, which has to be in date, does not have it; and likewise those above it",
    )
    server_name: str | None = setting(
        default=None,
        kind=ServerName(),
        flag="--upstream-server-name",
        others="sni hostname servername checkhostname",
        help="the name that its certificate has to be for",
        meaning="the name that the upstream's certificate has to be for, and that it is asked for (SNI); left out, "
        "the target's host",
    )
    cert: str | None = setting(
        default=None,
        kind=FileName("client.crt"),
        flag="--upstream-cert",
        others="certificate certfile crt clientcert",
        help="a certificate to show to it",
        meaning="the file of the certificate that is shown to an upstream which demands one",
    )
    key: str | None = setting(
        default=None,
        kind=FileName("client.key"),
        flag="--upstream-key",
        others="keyfile privatekey clientkey",
        help="the key of that",
        meaning="the file of its key, without a password; left out, it is in the file of the certificate",
    )
    insecure: bool = setting(
        default=False,
        kind=Switch(),
        flag="--upstream-insecure",
        others="verify verifymode certreqs skipverify",
        help="accept any certificate: anyone in between reads all",
        meaning="accept any certificate (`verify=False` of TlsUpstream): whoever is in between reads and changes "
        "everything",
    )
    alpn: tuple[str, ...] = setting(
        default=(),
        kind=Texts("NAME", "http/1.1"),
        flag="--upstream-alpn",
        others="alpnprotocols protocols nextprotos",
        help="a protocol to offer to it (ALPN); may be repeated",
        meaning="the protocols that the upstream is offered (ALPN), the preferred first",
    )
    truncation: Literal["reset", "allow"] = setting(
        default="reset",
        kind=Choice("reset", "allow"),
        flag="--upstream-truncation",
        help="the same for its end",
        meaning="what it means when an upstream ends without close_notify, as `tls.truncation` has it",
    )
    handshake_timeout: float = setting(
        default=10.0,
        kind=Seconds(),
        meaning="how long the handshake with an upstream may take. At the limit: reset, `handshake_timeout`",
    )
