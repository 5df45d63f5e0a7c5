"""Faults that change a message, what matches, or the rest of a stream."""

from __future__ import annotations

from typing import Unpack

from ._checks import count
from ._fault import MOST_BYTES, WHEN, Fault, When
from ._fault_names import FAULT_ARGUMENTS
from ._names import names_checked


class Corrupt(Fault):
    """Flips `bits` bits, at places that are drawn: of a message, of what `on_match` matches, or of the next byte.

    >>> from interpose import faults
    >>> faults.Corrupt(on_match=b"checksum")
    faults.Corrupt(bits=1, on_match=b'checksum')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, bits: int = 1, **when: Unpack[When]) -> None:
        self._made("corrupt", when, given={"bits": bits}, counts=(count("bits", bits, 1), 0))


class Duplicate(Fault):
    r"""Sends twice: a message, or what `on_match` matches. Without either it is one read, whose length is chance.

    >>> from interpose import faults
    >>> faults.Duplicate(on_match=b"INCR x\r\n")
    faults.Duplicate(on_match=b'INCR x\r\n')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("duplicate", when)


class Truncate(Fault):
    """Lets only the first `keep` bytes through: of a message, of what `on_match` matches, or of the rest of the stream.

    >>> from interpose import faults
    >>> faults.Truncate(10, nth=2)
    faults.Truncate(keep=10, nth=2)
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, keep: int, **when: Unpack[When]) -> None:
        self._made("truncate", when, given={"keep": keep}, counts=(count("keep", keep, 0, MOST_BYTES), 0))


class Drop(Fault):
    """Lets nothing through: of a message, of what `on_match` matches, or of the rest of the stream. The end comes.

    >>> from interpose import faults
    >>> faults.Drop(on_match=b"secret")
    faults.Drop(on_match=b'secret')
    """

    __slots__ = ()

    @names_checked(FAULT_ARGUMENTS, WHEN)
    def __init__(self, **when: Unpack[When]) -> None:
        self._made("drop", when)
