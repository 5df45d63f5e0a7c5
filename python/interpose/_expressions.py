"""Python's regular expressions in the dialect of the core, which matches in time in proportion to the bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from ._exceptions import ConfigError

_INLINE = re.compile(r"\(\?([aiLmsux]+)\)")
_SCOPED = re.compile(r"(?<!\\)\(\?[aiLmsu]*x[aiLmsux]*(?:-[imsx]+)?:")
_LAYOUT = " \t\n\r\f\v"


def core_expression(name: str, compiled: re.Pattern[bytes] | re.Pattern[str]) -> bytes:
    r"""Return a compiled expression as the core reads it, with its flags, or raise ConfigError if it means another.

    >>> core_expression("on_match", re.compile(rb"id = \d+  # a number", re.X | re.I))
    b'(?i)id=\\d+'
    """
    is_text, flags = isinstance(compiled.pattern, str), compiled.flags
    # Each byte is a character of its own here.
    source = compiled.pattern if isinstance(compiled.pattern, str) else compiled.pattern.decode("latin-1")
    if flags & re.LOCALE:
        raise ConfigError(
            f"{name}: re.LOCALE depends on the machine; compile it without, and write out what it matches"
        )
    if is_text and flags & re.IGNORECASE and not source.isascii():
        advice = "write both cases, such as [Éé], without the flag"
        raise ConfigError(f"{name}: re.IGNORECASE is for ASCII letters, and {source!r:.80} has others; {advice}")
    if _SCOPED.search(source):
        raise ConfigError(f"{name}: {source!r:.80} has re.VERBOSE for a part of it; write that part without blanks")
    if begin := _INLINE.match(source):
        source = source[begin.end() :]
    letters = "".join(
        letter for letter, flag in (("i", re.IGNORECASE), ("m", re.MULTILINE), ("s", re.DOTALL)) if flags & flag
    )
    # Text is matched by characters, bytes by bytes. The core folds the cases of ASCII alone.
    letters += "u" if is_text and not flags & re.IGNORECASE else ""
    plain = "".join(_parts(source, is_verbose=bool(flags & re.VERBOSE)))
    text = f"(?{letters}){plain}" if letters else plain
    return text.encode() if is_text else text.encode("latin-1")


def _parts(source: str, *, is_verbose: bool) -> Iterator[str]:
    """Yield the parts of an expression: without layout and comments, and with escapes for the core's own operators."""
    at, opened = 0, None
    while at < len(source):
        letter, rest = source[at], source[at : at + 2]
        if letter == "\\":
            yield rest
            at += 2
            continue
        if opened is not None:
            is_first = source[opened:at] in ("[", "[^")
            if letter == "[" or rest in ("&&", "~~"):
                yield "\\"
            elif letter == "]" and not is_first:
                opened = None
        elif letter == "[":
            opened = at
        elif is_verbose and letter == "#":
            end = source.find("\n", at)
            at = len(source) if end < 0 else end
            continue
        elif is_verbose and letter in _LAYOUT:
            at += 1
            continue
        yield letter
        at += 1


def compiled_or_error(name: str, pattern: bytes) -> re.Pattern[bytes]:
    """Compile an expression of bytes by Python's rules, or raise ConfigError."""
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        from ._exceptions import printable

        shown = printable(repr(cast("object", pattern)))
        message = f"{name}: {shown} is no regular expression ({error}); escape what is meant as it is"
        raise ConfigError(message) from error
