r"""Texts such as `OLD=NEW`: what stands in place of what, as one writes it in a shell."""

from __future__ import annotations

from ._kinds import Texts, refuse

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\", "=": "="}


class Replacements(Texts):
    """Some texts of the form `OLD=NEW`. `is_regex`: the first half is a regular expression."""

    def __init__(self, metavar: str, sample: str, *, is_regex: bool = False) -> None:
        super().__init__(metavar, sample, separator="")
        self.is_regex = is_regex

    def check(self, name: str, value: object) -> tuple[str, ...]:
        """Return `value` as a tuple; it must be a list or tuple of texts of the form."""
        found = super().check(name, value)
        for text in found:
            old, _ = halves(name, text, self.sample)
            if not self.is_regex:
                unescaped(name, text)
            if not old:
                refuse(name, f"{text!r} has nothing before the =; write what to replace, such as {self.sample}")
        return found


def halves(name: str, text: str, sample: str) -> tuple[str, str]:
    r"""Return what stands before the first `=` that has no backslash, and what stands behind it; or raise ConfigError.

    >>> halves("replace", r"a\=b=c=d", "old=new")
    ('a\\=b', 'c=d')
    """
    at = 0
    while at < len(text) and text[at] != "=":
        at += 2 if text[at] == "\\" else 1
    if at < len(text):
        return text[:at], text[at + 1 :]
    return refuse(name, f"{text!r} has no =; write {sample}, and \\= for one that is meant")


def unescaped(name: str, text: str) -> bytes:
    r"""Return the bytes that a text with escapes means, or raise ConfigError.

    >>> unescaped("replace", r"a\x00\n\=")
    b'a\x00\n='
    """
    found, at = bytearray(), 0
    while at < len(text):
        if text[at] != "\\":
            # Bytes that are no UTF-8 come from the shell as surrogates.
            found += text[at].encode("utf-8", "surrogateescape")
            at += 1
            continue
        escape = text[at + 1 : at + 2]
        digits = text[at + 2 : at + 4]
        if escape == "x" and len(digits) == 2 and digits.isascii() and digits.isalnum() and _is_hex(digits):
            found.append(int(digits, 16))
            at += 4
        elif escape in _ESCAPES:
            found += _ESCAPES[escape].encode()
            at += 2
        else:
            refuse(name, f"{text!r}: \\{escape} means nothing; there are \\n, \\r, \\t, \\0, \\xHH, \\= and \\\\")
    return bytes(found)


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in digits)


def pairs_of(name: str, texts: tuple[str, ...], sample: str) -> dict[bytes, bytes]:
    """Return what stands in place of what, or raise ConfigError."""
    found: dict[bytes, bytes] = {}
    for text in texts:
        old, new = (unescaped(name, half) for half in halves(name, text, sample))
        if found.get(old, new) != new:
            refuse(name, f"{text!r}: something else is to stand in its place as well; give one of them")
        found[old] = new
    return found


def regex_pair(name: str, text: str, sample: str) -> tuple[bytes, bytes]:
    """Return an expression, and what stands in place of what it matches."""
    pattern, replacement = halves(name, text, sample)
    pattern, replacement = (half.replace("\\=", "=") for half in (pattern, replacement))
    return pattern.encode("utf-8", "surrogateescape"), replacement.encode("utf-8", "surrogateescape")
