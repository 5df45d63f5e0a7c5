"""The faults of the command, read from their words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from .. import faults
from .._exceptions import ArgumentTypeError, ConfigError, printable
from .._groups import Misbehaving
from .._kinds import Count, Seconds
from .._names import nearest
from .._replacements import unescaped
from .._sizes import Rate, Size

_SECONDS, _SIZE, _COUNT = Seconds(zero=True), Size(0), Count(0)
# The first value of each fault, which needs no name, and its other ones.
_KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "latency": (faults.Latency, ("delay", "jitter", "distribution", "hold")),
    "bandwidth": (faults.Bandwidth, ("rate", "burst")),
    "slicer": (faults.Slicer, ("size", "variation", "delay")),
    "cut": (faults.Cut, ("after_bytes", "how")),
    "reset": (faults.Reset, ()),
    "stall": (faults.Stall, ()),
    "blackhole": (faults.Blackhole, ()),
    "half-close": (faults.HalfClose, ()),
    "close-after": (faults.CloseAfter, ("seconds", "how")),
    "slow-close": (faults.SlowClose, ("delay",)),
    "corrupt": (faults.Corrupt, ("bits",)),
    "duplicate": (faults.Duplicate, ()),
    "truncate": (faults.Truncate, ("keep",)),
    "drop": (faults.Drop, ()),
    "refuse-connect": (faults.RefuseConnect, ()),
    "slow-connect": (faults.SlowConnect, ("delay",)),
    "flap": (faults.Flap, ("schedule", "down")),
}
_CONDITIONS = ("direction", "after_bytes", "on_match", "nth", "times", "probability")
_SHORT = {"after": "after_bytes", "match": "on_match", "toxicity": "probability"}
_OTHERS = {"delay": "latency", "throttle": "bandwidth", "slice": "slicer", "rst": "reset", "hang": "stall"}


def _rate(name: str, text: str) -> int | None:
    return (Rate() if "/" in text else Size()).read(name, text)


def _schedule(name: str, text: str) -> list[float]:
    """Return the times of `1s,500ms`; one alone is both."""
    times = [_SECONDS.read(name, one) for one in text.split(",")]
    return [float(time or 0) for time in (times * 2 if len(times) == 1 else times)]


def _probability(name: str, text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ConfigError(f"{name}: {text!r} is no number; write {name}=0.1") from None


_READ: Mapping[str, Callable[[str, str], object]] = {
    "delay": _SECONDS.read,
    "jitter": _SECONDS.read,
    "seconds": _SECONDS.read,
    "schedule": _schedule,
    "rate": _rate,
    "burst": _SIZE.read,
    "hold": _SIZE.read,
    "after_bytes": _SIZE.read,
    "keep": _SIZE.read,
    "size": _SIZE.read,
    "variation": _SIZE.read,
    "bits": _COUNT.read,
    "nth": _COUNT.read,
    "times": _COUNT.read,
    "probability": _probability,
    "on_match": unescaped,
}


def faults_of(given: Misbehaving) -> list[faults.Fault]:
    """Return the faults that `given` means, or raise ConfigError."""
    if given.seed is not None and not given.fault:
        raise ConfigError("--seed: it fixes what faults draw, and there are none; add --fault")
    return [fault_of(text) for text in given.fault]


def fault_of(text: str) -> faults.Fault:
    """Return the fault that these words mean, or raise ConfigError.

    >>> fault_of("latency 200ms jitter=50ms direction=to_client")
    faults.Latency(delay=0.2, jitter=0.05, direction='to_client')
    >>> fault_of("reset match=GET times=1 probability=10%")
    faults.Reset(on_match=b'GET', times=1, probability=0.1)
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise ConfigError(f"--fault: {text!r} has a quote without its end; close it") from None
    if not words:
        raise ConfigError("--fault: it is empty; write --fault 'latency 200ms'")
    word, rest = words[0].lower().replace("_", "-"), words[1:]
    kind, own = _kind_of(word)
    arguments: dict[str, Any] = {}
    for number, value in enumerate(rest):
        name, is_named, value_of = value.partition("=")
        if not is_named:
            if number or not own:
                known = ", ".join((*own, *_CONDITIONS))
                takes = f"write NAME={value}, where NAME is one of {known}"
                raise ConfigError(f"--fault: {printable(value)} in {text!r} has no name; {takes}")
            name, value_of = own[0], value
        name = _argument_of(name, own, word)
        if name in arguments:
            raise ConfigError(f"--fault: {name} is there twice in {text!r}; keep one of the two")
        arguments[name] = _READ[name](f"--fault {word}: {name}", value_of) if name in _READ else value_of
    missing = [name for name in own[:1] if name not in arguments and word not in ("cut", "corrupt")]
    if missing:
        raise ConfigError(f"--fault: {word} needs a {missing[0]}; write {word} {missing[0]}=...")
    try:
        made: faults.Fault = kind(**arguments)
    except (ConfigError, ArgumentTypeError) as error:
        raise ConfigError(f"--fault {word}: {error}") from error
    return made


def _kind_of(word: str) -> tuple[Any, tuple[str, ...]]:
    plain = word.lower().replace("_", "-")
    if plain not in _KINDS:
        near = nearest(plain, tuple(_KINDS), _OTHERS)
        advice = f"did you mean {near}?" if near else f"there are {', '.join(_KINDS)}"
        raise ConfigError(f"--fault: there is no {printable(word)}; {advice}")
    return _KINDS[plain]


def _argument_of(name: str, own: tuple[str, ...], word: str) -> str:
    found = _SHORT.get(name, name).replace("-", "_")
    known = (*own, *_CONDITIONS)
    if found not in known:
        near = nearest(found, known, _SHORT)
        advice = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"--fault {word}: there is no {printable(name)}; {advice}")
    return found
