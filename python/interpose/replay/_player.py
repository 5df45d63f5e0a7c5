"""Playing one side of one conversation: what has come goes in, what is to be said comes out. No socket and no clock."""

from __future__ import annotations

from ._comparison import Comparison
from ._masks import Expression
from ._script import Act, Script, Step

# The line of a player that has nothing left that others could wait for.
NO_LINE = 2**63
_SAID = (Act.SAY, Act.END, Act.RESET)


class Player:
    """Plays a script against a peer. `fault` is one clause of why it cannot go on."""

    def __init__(self, index: int, script: Script, masks: tuple[Expression, ...] = ()) -> None:
        self.index = index
        """The place of the conversation in the record."""
        self.script = script
        self.fault: str | None = None
        self.offset = 0
        """The bytes of the current step that were said."""
        self.said = 0
        """All bytes that were said."""
        self.has_ended: str | None = None
        """How the peer has ended: `"end"` or `"reset"`."""
        self._hearing = Comparison(script.heard, script.turns, masks)
        self._next: int = 0

    @property
    def heard(self) -> int:
        """The place in the recorded stream up to which the peer has sent the same."""
        return self._hearing.matched

    def hear(self, data: bytes) -> None:
        """Take bytes of the peer."""
        self._hearing.feed(data)
        if self.fault is None and (found := self._hearing.difference) is not None:
            self.fault = f"{self._at(found.offset)}: expected {found.expected}, got {found.got}"

    def hear_end(self, how: str) -> None:
        """Take the end of what the peer sends."""
        self.has_ended = self.has_ended or how
        if self.fault is not None:
            return
        what = "the connection was reset" if how == "reset" else "the peer has ended"
        if not self._hearing.is_complete:
            self.fault = f"{self._at(self.heard)}: expected {self._hearing.expected_next()}, but {what}"
        elif how == "reset" and self._has_bytes_to_say():
            self.fault = f"{self.script.says}, byte {self.said}: {what} before the rest was sent"

    def due(self) -> Step | None:
        """Return the step that is to be said now; None while something is to be heard first, or at the end."""
        place = self._place()
        if place != self._next:
            self._next, self.offset = place, 0
        step = self._step_at(place)
        return step if step is not None and step.act in _SAID else None

    def take(self, act: Act, data: bytes = b"") -> bool:
        """Pass what was said: bytes, an end or a reset. Return False where the script does not say that now."""
        if act is not Act.SAY:
            if (step := self.due()) is None or step.act is not act:
                return False
            self._pass()
            return True
        while data:
            step = self.due()
            if step is None or step.act is not Act.SAY:
                return False
            piece = step.data[self.offset : self.offset + len(data)]
            if not data.startswith(piece):
                return False
            data = data[len(piece) :]
            self.offset += len(piece)
            self.said += len(piece)
            if self.offset == len(step.data):
                self._pass()
        return True

    @property
    def line(self) -> int:
        """The line of the record at which it stands; NO_LINE where nothing is left but the end of the peer."""
        step = None if self.is_played else self._step_at(self._place())
        return NO_LINE if step is None else step.line

    @property
    def is_played(self) -> bool:
        """True once everything was said and heard. The end of a client, with only ends behind it, is not waited for."""
        place = self._place()
        step = self._step_at(place)
        is_at_the_end = step is None or (step.act is Act.HEAR_END and place >= self.script.only_ends)
        return step is None if self.script.says == "to_upstream" else is_at_the_end

    def missing(self, why: str) -> str:
        """Return the clause of what has not been said or heard, and why."""
        if (step := self._step_at(self._place())) is not None and step.act in _SAID:
            if step.act is not Act.SAY:
                return f"{self.script.says}: {why} before its end was sent"
            return f"{self.script.says}, byte {self.said}: {why} before the rest was sent"
        if self._hearing.is_complete:
            return f"{self.script.hears}, byte {self.heard}: expected the end of the peer, but {why}"
        held = self._hearing.held()
        instead = f", and got {held} so far" if held else ""
        left = self._hearing.left
        of = f" ({left:,} byte{' is' if left == 1 else 's are'} missing)"
        return f"{self._at(self.heard)}: expected {self._hearing.expected_next()}{instead}, but {why}{of}"

    def _at(self, place: int) -> str:
        return f"{self.script.hears}, byte {place}"

    def _place(self) -> int:
        """Return the place of the first step that is not done. Other threads ask too, so nothing is changed."""
        place = self._next
        while (step := self._step_at(place)) is not None and step.act not in _SAID and self._is_heard(step):
            place += 1
        return place

    def _step_at(self, place: int) -> Step | None:
        return self.script.steps[place] if place < len(self.script.steps) else None

    def _is_heard(self, step: Step) -> bool:
        return self.has_ended is not None if step.act is Act.HEAR_END else self._hearing.matched >= step.stop

    def _has_bytes_to_say(self) -> bool:
        return any(step.act is Act.SAY for step in self.script.steps[self._next :])

    def _pass(self) -> None:
        self._next, self.offset = self._next + 1, 0
