"""Other names for faults and their arguments, each with the one that is meant."""

from __future__ import annotations

from ._names import table

FAULTS = table(
    {
        "Bandwidth": "throttle rate ratelimit speed bandwidthlimit",
        "Blackhole": "blackhole swallow sink nothing",
        "CloseAfter": "timeout closetimer expire",
        "Corrupt": "flip bitflip garble",
        "Cut": "limitdata close disconnect end",
        "Drop": "loss lose discard",
        "Duplicate": "repeat twice",
        "Flap": "flapping updown intermittent",
        "HalfClose": "shutdown fin",
        "Latency": "delay lag slow jitter",
        "RefuseConnect": "refuse refused reject connectionrefused down",
        "Reset": "resetpeer rst abort",
        "Scripted": "custom own userfault script",
        "Slicer": "slice fragment chunks split",
        "SlowClose": "delayclose",
        "SlowConnect": "delayconnect connectdelay latencyconnect",
        "Stall": "hang freeze pause block",
        "Truncate": "shorten trim",
    }
)
FAULT_ARGUMENTS = table(
    {
        "delay": "latency wait lag",
        "jitter": "spread deviation",
        "hold": "memory buffer queue maxheld",
        "rate": "bandwidth speed bps",
        "size": "length averagesize",
        "variation": "sizevariation",
        "how": "kind mode with by",
        "keep": "first",
        "after_bytes": "after bytes offset at limit",
        "on_match": "match pattern when contains regex",
        "probability": "toxicity chance likelihood p",
        "direction": "side way stream",
        "only": "for where connections predicate filter",
        "nth": "n occurrence number",
        "times": "count maxcount repeat most",
        "schedule": "times updown pattern periods",
        "down": "what kind",
        "seconds": "time timeout",
    }
)
