"""`interpose check`: read what a command line, or a file, means, and say whether it would do; serve nothing."""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Iterator, Sequence

from .._addresses import SocketName, address_text, unix_path, without_tls
from .._exceptions import ConfigError, printable
from .._forward import Forward
from .._groups import Listen
from .._service_names import numbered
from .._settings_and_help import GROUPS, Setting, rows_of
from .combinations import check as check_combinations
from .console import FAILED, OK, complain, say
from .given import Values
from .parsing import Listener, Options, parse
from .trial import Trial, connect
from .vacancy import instance_of, occupied

_OWN = ("--connect", "--explain")


def run(words: Sequence[str]) -> int:
    """Check, say what was found, and return the exit code."""
    own = [word for word in words if word in _OWN]
    _check_own(words)
    if not words and not os.environ.get("INTERPOSE_CONFIG"):
        raise ConfigError(
            "check: LISTEN and TARGET are missing; write interpose check 9090 example.org:80, or --config FILE"
        )
    options = parse([word for word in words if word not in _OWN])
    check_combinations(options.listeners, options.command, options.values, has_file=options.again is not None)
    if "--explain" in own:
        for line in _explained(options):
            say(line)
    for listener in options.listeners:
        listener.check_scripts()
        listener.misbehaving()
        listener.check_filters()
        listener.check_tls()
    wrong = 0
    for listener in options.listeners:
        say(f"{printable(listener.address)} -> {listener.target_text}")
        for line, is_wrong in (*_occupied(listener, options.command.config), *_looked_up(listener)):
            wrong += is_wrong
            say(f"  {line}")
        for name, forward in _targets(listener) if "--connect" in own else ():
            found = _tried(forward)
            wrong += not found.is_connected
            say(f"  {name}: {found.text}")
    if options.command.toxiproxy_api is not None:
        from .toxiproxy import ApiListener

        ApiListener(options.command.toxiproxy_api, None)
        say(f"{printable(options.command.toxiproxy_api)}: toxiproxy's API")
        if why := occupied(options.command.toxiproxy_api, Listen()):
            wrong += 1
            say(f"  listen: {why}")
    if wrong:
        what = "1 thing is" if wrong == 1 else f"{wrong} things are"
        complain(f"check: {what} wrong with it; see the lines above")
        return FAILED
    say("it is right" if "--connect" in own else "it is right; --connect tries the targets, too")
    return OK


def _occupied(listener: Listener, config: str | None) -> Iterator[tuple[str, bool]]:
    """Yield a line if LISTEN is not free, and whether that is wrong: an instance with the same file reads it anew."""
    why = occupied(listener.address, listener.listen)
    instance = instance_of(why, config)
    if instance is not None:
        yield f"listen: the process {instance} serves this file; it is read again by kill -HUP {instance}", False
    elif why:
        yield f"listen: {why}", True


def _looked_up(listener: Listener) -> Iterator[tuple[str, bool]]:
    """Yield a line for each name that has to be looked up, and whether it is wrong."""
    own = _addresses(_whole(numbered(listener.address)))
    targets: list[tuple[str, SocketName]] = [("forward_to", listener.forward.address)]
    targets += [("fallback", one.address) for one in listener.forward.fallback]
    targets += [(name, forward.address) for name, forward in _by_name(listener)]
    if listener.server.mirror_to is not None:
        targets.append(("mirror_to", _split(without_tls(listener.server.mirror_to)[0])))
    if isinstance(own, str):
        yield f"listen: {own}", True
    for name, address in targets:
        if unix_path(address) is not None:
            continue
        found = _addresses(address_text(address))
        shown = address_text(address)
        if isinstance(found, str):
            yield f"{name}: {found}", True
        elif set(found) & set(own if not isinstance(own, str) else ()):
            yield f"{name}: {shown} is the listener's own address; every client would come back to it", True
        elif found and found[0][0] != address[0]:
            yield f"{name}: {shown} is {', '.join(ip for ip, _ in found)}", False


def _targets(listener: Listener) -> Iterator[tuple[str, Forward]]:
    """Yield what may be connected to, with its name in a line."""
    target, mirror = listener.target(), listener.mirror()
    yield "connect", target
    if listener.tls.intercept and target.tls is None:
        # Clients with TLS go there with TLS, and the others without.
        yield "connect with TLS", listener.secured(listener.forward)
    yield from _by_name(listener)
    for one in target.fallback:
        yield f"fallback {address_text(one.address)}", one
    if mirror is not None:
        yield "mirror_to", Forward(mirror) if isinstance(mirror, str) else mirror


def _by_name(listener: Listener) -> Iterator[tuple[str, Forward]]:
    """Yield the targets by name, with TLS that asks for it: whether to trust the answer is the client's matter."""
    if not listener.sni.targets:
        return
    from .naming import by_name
    from .tls import unchecked

    for name, target in (found.targets if (found := by_name(listener.sni)) else {}).items():
        # Which of the names below one there are, only the target knows.
        yield f"--sni {printable(name)}", target if name.startswith("*") else unchecked(target, name)


def _tried(forward: Forward) -> Trial:
    found = connect(forward, greets=forward.tls is None)
    if not found.is_connected or forward.tls is None:
        return found
    from .tls_trial import shake_hands

    return shake_hands(forward)


def _check_own(words: Sequence[str]) -> None:
    """Raise ConfigError for a slip of an option that only this command has."""
    known = [row.flag for row in rows_of() if row.flag]
    for word in words:
        near = difflib.get_close_matches(word, _OWN, 1, 0.8) if word.startswith("--") and word not in known else []
        if near and word not in _OWN:
            raise ConfigError(printable(f"{word}: there is no such option; did you mean {near[0]}?"))


def _whole(listen: str) -> str:
    """Return the text of LISTEN with a host, or nothing for what has none."""
    return "" if listen.startswith("fd:") else listen if ":" in listen else f"127.0.0.1:{listen}"


def _split(text: str) -> SocketName:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else text


def _addresses(text: str) -> list[tuple[str, int]] | str:
    """Return the addresses of a text with host and port, each once; or why there is none."""
    address = _split(text)
    # What has no port needs no look-up: a Unix socket, a descriptor.
    if isinstance(address, str):
        return []
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"{printable(host)} cannot be looked up ({error.strerror}); check the name, or give its IP address"
    return list(dict.fromkeys((str(one[4][0]), int(one[4][1])) for one in found))


def _explained(options: Options) -> Iterator[str]:
    """Yield each setting with its value, and where that was given."""
    yield from _lines("the command", options.values, ["command"])
    groups = [group.name for group in GROUPS if group.name != "command"]
    for listener in options.listeners:
        title = f"{printable(listener.address)} -> {listener.target_text}"
        yield from _lines(
            f"{title}{f', {printable(listener.place)}' if listener.place else ''}", listener.values, groups
        )


def _lines(title: str, values: Values, groups: Sequence[str]) -> Iterator[str]:
    yield f"{title}:"
    rows = [row for group in GROUPS if group.name in groups for row in group.rows]
    shown = [(row.key, *_of_row(row, values)) for row in rows]
    widths = [max(len(line[column]) for line in shown) for column in (0, 1)]
    for key, value, place in shown:
        yield f"  {key:<{widths[0]}}  {value:<{widths[1]}}  {place}"
    yield ""


def _of_row(row: Setting, values: Values) -> tuple[str, str]:
    if row in values:
        return printable(row.kind.show(values[row].value)), printable(values[row].place)
    return row.shown_default, "default"
