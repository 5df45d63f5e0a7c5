"""Toxics: their fields as toxiproxy has them, and the faults that they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

from .. import faults
from .._exceptions import ArgumentTypeError, ConfigError, printable
from .._toxics import TOXICS
from ..faults import Fault
from ._body import Fields, fields_of, share_of, text_of, whole_of
from ._refusal import RefusedError, among, bad_body

_FIELDS = ("name", "type", "stream", "toxicity", "attributes")
# noop does nothing.
_KINDS: dict[str, dict[str, int]] = {**TOXICS, "noop": {}}


@dataclass(frozen=True, slots=True)
class Toxic:
    """A toxic. `attributes` has all of its type's, in toxiproxy's units; `faults` do what it says."""

    name: str
    kind: str
    stream: str
    toxicity: float
    attributes: dict[str, int]
    faults: tuple[Fault, ...] = field(compare=False)

    @property
    def is_downstream(self) -> bool:
        """Return whether it concerns what the client gets."""
        return self.stream.lower() == "downstream"

    def shown(self) -> Fields:
        """Return its fields for JSON."""
        return {
            "attributes": self.attributes,
            "name": self.name,
            "type": self.kind,
            "stream": self.stream,
            "toxicity": int(self.toxicity) if self.toxicity.is_integer() else self.toxicity,
        }

    def changed(self, value: object) -> Toxic:
        """Return it with what a body says; what that does not name stays. Raises RefusedError."""
        fields = fields_of(value, _FIELDS, "toxic")
        attributes = {**self.attributes, **_attributes_of(fields, self.kind)}
        return _made(self.name, self.kind, self.stream, share_of(fields, "toxicity", self.toxicity), attributes)


@dataclass(frozen=True, slots=True)
class Wish:
    """The toxic that a body asks for, of which all but the attributes is checked."""

    name: str
    kind: str
    stream: str
    fields: Fields

    def toxic(self) -> Toxic:
        """Return the toxic, or raise RefusedError."""
        attributes = {**_KINDS[self.kind], **_attributes_of(self.fields, self.kind)}
        return _made(self.name, self.kind, self.stream, share_of(self.fields, "toxicity", 1.0), attributes)


def wish_of(value: object) -> Wish:
    """Return the toxic that a body asks for, or raise RefusedError."""
    fields = fields_of(value, _FIELDS, "toxic")
    kind, stream = text_of(fields, "type"), text_of(fields, "stream", "downstream")
    if stream.lower() not in ("downstream", "upstream"):
        raise RefusedError(400, "stream was invalid, can be either upstream or downstream")
    name = text_of(fields, "name") or f"{kind}_{stream}"
    if kind not in _KINDS:
        advice = among(kind, tuple(_KINDS))
        raise RefusedError(400, f"invalid toxic type: there is no {printable(kind)!r}; {advice}")
    return Wish(name, kind, stream, fields)


def _attributes_of(fields: Fields, kind: str) -> dict[str, int]:
    given = fields_of(fields.get("attributes", {}), tuple(_KINDS[kind]), f"attributes of toxic {kind}")
    return {name: whole_of(given, name, f"toxic {kind}") for name in given}


def _made(name: str, kind: str, stream: str, toxicity: float, attributes: dict[str, int]) -> Toxic:
    if kind == "noop":
        return Toxic(name, kind, stream, toxicity, attributes, ())
    way = cast("Literal['downstream', 'upstream']", stream.lower())
    try:
        made = faults.toxic(kind, way, toxicity, **attributes)
    except (ConfigError, ArgumentTypeError) as error:
        raise bad_body(f"toxic {kind}: {error}") from error
    return Toxic(name, kind, stream, toxicity, attributes, tuple(made))
