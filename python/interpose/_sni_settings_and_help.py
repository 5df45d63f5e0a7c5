"""The table of settings, third part: the routing of TLS by name, for the command.

Programs have the class ByName.
"""

from __future__ import annotations

from ._kinds import Switch, Texts
from ._rows import group, setting


@group("sni", "routing TLS by name, undecrypted", "TheServer(..., tls=ByName(...))")
class Naming:
    """The targets of a listener by the names that clients ask for."""

    targets: tuple[str, ...] = setting(
        default=(),
        kind=Texts("NAME=TARGET", "a.example=10.0.0.1:443"),
        flag="--sni",
        others="byname names hosts servernames",
        help="clients that ask for NAME go there; may be repeated",
        meaning="where clients go that ask in TLS for a name (SNI), undecrypted: `NAME=TARGET`, where `*.NAME` is for "
        "all names below one. The others go to TARGET; a client that speaks no TLS is reset",
    )
    only: bool = setting(
        default=False,
        kind=Switch(),
        flag="--sni-only",
        others="strict",
        help="refuse those that ask for no such name",
        meaning="refuse clients that ask for none of these names, with the alert `unrecognized_name`",
    )
