"""The targets of the command by name, read from their words."""

from __future__ import annotations

from .._by_name import ByName
from .._exceptions import ConfigError, InterposeError, printable
from .._forward import Forward, forward_of
from .._groups import Naming

_EXAMPLE = "write --sni a.example=10.0.0.1:443"


def by_name(given: Naming, *, is_decrypted: bool = False, is_secure: bool = False) -> ByName | None:
    """Return the targets that `given` means, None without any; or raise ConfigError.

    Their TLS is passed on as it is: it is not spoken with clients (`is_decrypted`), and not with TARGET (`is_secure`).

    >>> from interpose._groups import Naming
    >>> by_name(Naming(targets=("a.example=10.0.0.1:443",), only=True))
    ByName({'a.example': Forward('10.0.0.1:443', connect_timeout=10)}, default=False)
    """
    if not given.targets:
        if given.only:
            raise ConfigError("--sni-only: there are no names, so nobody could come in; add --sni NAME=TARGET")
        return None
    if is_decrypted:
        raise ConfigError("--sni: it passes TLS on undecrypted, and --tls-cert decrypts it; leave one of them out")
    if is_secure:
        raise ConfigError("--sni: it passes TLS on undecrypted, so TARGET needs no second one; leave tls:// out there")
    targets: dict[str, Forward] = {}
    for text in given.targets:
        name, equals, target = (part.strip() for part in text.partition("="))
        if not equals:
            raise ConfigError(f"--sni: {printable(repr(text))} has no =; {_EXAMPLE}")
        if name in targets:
            raise ConfigError(f"--sni: {printable(name)} is there twice; leave one out")
        try:
            targets[name] = forward_of(target, "")
        except InterposeError as error:
            raise ConfigError(f"--sni {printable(name)}: {f'{error}'.removeprefix(': ')}") from error
    try:
        return ByName(targets, default=False if given.only else None)
    except InterposeError as error:
        raise ConfigError(f"--sni: {f'{error}'.removeprefix('tls: ')}") from error
