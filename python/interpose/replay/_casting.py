"""Which conversation a connection plays: the next in order, or one that fits what comes."""

from __future__ import annotations

from collections.abc import Sequence

from ._masks import Expression
from ._player import Player
from ._script import Act, Script, Step


class Part:
    """The conversations that a connection may be playing: those that fit all that has passed on it so far.

    It plays one of them, `player`; another takes its place where that fits no more.
    """

    def __init__(self, cast: Cast, players: list[Player]) -> None:
        self._cast = cast
        self.players = players
        self.player = players[0]

    @property
    def fault(self) -> str | None:
        """One clause of why it cannot go on."""
        return self.player.fault

    def hear(self, data: bytes) -> None:
        """Take bytes of the peer."""
        for player in self.players:
            player.hear(data)
        self._choose()

    def hear_end(self, how: str) -> None:
        """Take the end of what the peer sends."""
        for player in self.players:
            player.hear_end(how)
        self._choose()

    def due(self) -> Step | None:
        """Return the step that is to be said now."""
        return self.player.due()

    def take(self, act: Act, data: bytes = b"") -> None:
        """Pass what was said."""
        self.players = [one for one in self.players if one.take(act, data) or one is self.player]

    def _choose(self) -> None:
        alive = [one for one in self.players if one.fault is None]
        if not alive:
            # The one that went on for longest is most likely meant.
            self.player = max(self.players, key=lambda one: one.heard)
        self.players = alive or [self.player]
        if alive and not self._cast.give(self):
            self.player.fault = self.player.fault or "no conversation is left that fits"


class Cast:
    """Assigns each connection a conversation that no other one has."""

    def __init__(self, scripts: Sequence[Script], masks: tuple[Expression, ...], *, by_bytes: bool) -> None:
        self._scripts, self._masks, self._by_bytes = scripts, masks, by_bytes
        self._taken: dict[int, Part] = {}
        self._used: set[int] = set()

    def enter(self) -> Part | None:
        """Return the part of a new connection; None where no conversation is left."""
        free = [index for index in range(len(self._scripts)) if index not in self._used]
        if not self._by_bytes:
            free = [index for index in free if index not in self._taken][:1]
        if not free:
            return None
        part = Part(self, [Player(index, self._scripts[index], self._masks) for index in free])
        return part if self.give(part) else None

    def give(self, part: Part) -> bool:
        """Give a part one of its conversations that no other part has, or that another can do without."""
        part.players = [one for one in part.players if one.index not in self._used]
        held = self._taken.get(part.player.index)
        if held is part and part.player in part.players:
            return True
        self._taken = {index: holder for index, holder in self._taken.items() if holder is not part}
        return self._find(part, set())

    def leave(self, part: Part) -> None:
        """Keep the conversation of a part, whose connection is over, from all others."""
        self._used.add(part.player.index)
        self._taken = {index: holder for index, holder in self._taken.items() if holder is not part}

    def unplayed(self) -> list[int]:
        """Return the places of the conversations that no connection has or had."""
        return [index for index in range(len(self._scripts)) if index not in self._used and index not in self._taken]

    def _find(self, part: Part, asked: set[int]) -> bool:
        for player in part.players:
            if player.index not in self._taken and player.index not in self._used:
                self._set(part, player)
                return True
        for player in part.players:
            if player.index in asked or player.index in self._used:
                continue
            asked.add(player.index)
            if self._find_other(self._taken[player.index], asked):
                self._set(part, player)
                return True
        return False

    def _find_other(self, holder: Part, asked: set[int]) -> bool:
        holder.players = [one for one in holder.players if one.fault is None] or holder.players
        return self._find(holder, asked)

    def _set(self, part: Part, player: Player) -> None:
        self._taken[player.index] = part
        part.player = player
