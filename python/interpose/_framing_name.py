"""The kind of a setting that names a framing, such as `resp` or `length:4`.

Nothing that costs time is imported here: `interpose --help` reads the rows.
"""

from __future__ import annotations

from ._kinds import Kind, refuse
from ._sizes import Size


class FramingName(Kind):
    """The name of a framing with its argument, such as `resp` or `length:4`, or None."""

    metavar = "PROTOCOL"
    sample = "resp"
    words = ("lines", "resp", "postgres", "mysql", "mqtt", "http1", "dns", "modbus", "tls_records", "varint")
    with_argument = ("length", "fixed", "delimited")

    def check(self, name: str, value: object) -> str | None:
        """Return `value`, which must name a framing, or None."""
        from ._exceptions import wrong_type

        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_type(name, value, "a str", 'write "resp"')
        self._check_text(name, value)
        return value

    def read(self, name: str, text: str) -> str | None:
        """Return the text if it names a framing."""
        return None if text.lower() == "none" else self.check(name, text)

    def show(self, value: object) -> str:
        """Return the name, or that there is none."""
        return "none" if value is None else f"{value}"

    def _check_text(self, name: str, text: str) -> None:
        word, colon, argument = text.partition(":")
        if word in self.with_argument:
            if not argument:
                refuse(name, f"{text!r} lacks its argument; write {word}:{'0a' if word == 'delimited' else '4'}")
            if word == "delimited":
                _check_hex(name, argument)
            elif word == "fixed":
                Size(1, 2**31 - 1).read(name, argument)
            elif not argument.isdecimal() or not 0 < int(argument) <= 8:
                most = "1 to 8, the bytes of the length field"
                refuse(name, f"{argument!r} is no number for {word}; write {most}, such as {word}:4")
        elif word not in self.words or colon:
            from difflib import get_close_matches

            if word in self.words:
                refuse(name, f"{word} has no argument; write {word}")
            every = [*self.words, *(f"{one}:..." for one in self.with_argument)]
            near = get_close_matches(word.lower(), [*self.words, *self.with_argument], 1, 0.6)
            refuse(
                name,
                f"there is no {word!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(every)}"),
            )


def _check_hex(name: str, text: str) -> None:
    try:
        bytes.fromhex(text)
    except ValueError:
        refuse(name, f"{text!r} are no hexadecimal digits; write delimited:0d0a for CR LF")
