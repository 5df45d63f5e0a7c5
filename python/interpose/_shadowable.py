"""Properties of a server, such as `connections`, whose names a subclass may use for attributes of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Type checkers know the builtin alone.
    from builtins import property as shadowable
else:

    class shadowable(property):  # noqa: N801 (used as `property` is)
        """A property whose name is free for an attribute in subclasses; a TheServer itself refuses one."""

        def __set_name__(self, kind: type, name: str) -> None:
            super().__set_name__(kind, name)
            self._kind = kind
            self._name = name

        def __get__(self, server: object, kind: type | None = None) -> Any:
            """Return the attribute that was assigned, else the property's value."""
            if server is not None and self._name in vars(server):
                return vars(server)[self._name]
            return super().__get__(server, kind)

        def __set__(self, server: object, value: object) -> None:
            """Assign an attribute to a server of a subclass."""
            if type(server) is self._kind:
                super().__set__(server, value)
            vars(server)[self._name] = value

        def __delete__(self, server: object) -> None:
            """Delete the attribute; the property is back then."""
            if self._name not in vars(server):
                super().__delete__(server)
            del vars(server)[self._name]


__all__ = ["shadowable"]
