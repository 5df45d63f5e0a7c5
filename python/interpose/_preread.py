"""The answer of on_preread that is no decision yet."""

from __future__ import annotations

import enum
from typing import Final


class More(enum.Enum):
    """The type of `interpose.MORE`, for annotations: `def on_preread(conn, data) -> Forward | More | None`.

    >>> from interpose import MORE, More
    >>> isinstance(MORE, More), MORE
    (True, interpose.MORE)
    """

    __module__ = "interpose"

    MORE = "MORE"

    def __repr__(self) -> str:
        return "interpose.MORE"


MORE: Final = More.MORE
"""The answer of on_preread that it cannot decide yet: it is called again when the client has sent more."""
