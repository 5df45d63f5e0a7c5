"""Texts that are read as amounts: sizes, rates, and ports by their names."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from interpose import AddressError, ConfigError, Forward, TheServer, _service_names
from interpose._kinds import Seconds
from interpose._service_names import numbered
from interpose._sizes import Rate, Size

SIZES = {"77": 77, "77B": 77, "500kB": 500_000, "64KiB": 65536, "1.5MiB": 1572864, "10MB": 10**7, "2 GiB": 2**31}
WRONG_SIZES = {
    "64K": "write 64kB or 64KiB",
    "64kib": "write 64KiB",
    "10mb": "write 10MB",
    "1.5": "is not a whole number of bytes",
    "-1": "is not a size; write bytes, or 500kB",
    "lots": "is not a size",
    "5 parsecs": "has no unit known here",
    "": "is not a size",
    "0": "it is below 1",
    "9999999GiB": "it is above",
    "none": "is not a size",
}
RATES = {"1000": 1000, "10MB/s": 10**7, "64KiB/s": 65536, "1B/s": 1}
WRONG_RATES = {
    "10MB": "is a size, not a rate; write 10MB/s",
    "100Mbit/s": "is in bits, eight to a byte; write 12.5MB/s",
    "8kbps": "is in bits, eight to a byte; write 1kB/s",
    "10MB/m": "is not by the second",
    "10M/s": "write 10MB/s or 10MiB/s",
    "fast": "is not a rate",
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (86400.0, "1d"),
        (3600, "1h"),
        (5400.0, "90m"),
        (90.0, "90s"),
        (90.5, "90.5s"),
        (1.0, "1s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (1e9, "1000000000s"),
        (0, "0"),
    ],
)
def test_a_time_is_shown_as_it_is_read(seconds: float, text: str) -> None:
    assert Seconds(zero=True).show(seconds) == text
    assert Seconds(zero=True).read("--time", text) == seconds


@pytest.mark.parametrize("text", SIZES)
def test_a_size(text: str) -> None:
    assert Size().read("--size", text) == SIZES[text]
    assert Size().read("--size", Size().show(SIZES[text])) == SIZES[text]


@pytest.mark.parametrize("text", WRONG_SIZES)
def test_what_is_no_size_says_how_one_is_written(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--size: ") as caught:
        Size().read("--size", text)
    assert WRONG_SIZES[text] in str(caught.value)


@pytest.mark.parametrize("text", RATES)
def test_a_rate(text: str) -> None:
    assert Rate().read("--rate", text) == RATES[text]
    assert Rate().read("--rate", Rate().show(RATES[text])) == RATES[text]


@pytest.mark.parametrize("text", WRONG_RATES)
def test_what_is_no_rate_says_how_one_is_written(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--rate: ") as caught:
        Rate().read("--rate", text)
    assert WRONG_RATES[text] in str(caught.value)


def test_none_is_a_value_where_it_means_something() -> None:
    assert Size(none="no limit").read("", "none") is None
    assert Rate(none="no limit").read("", "none") is None
    assert (Size(none="no limit").show(None), Rate(none="no limit").show(None)) == ("no limit", "no limit")


def test_a_port_may_be_a_service_s_name() -> None:
    try:
        port = socket.getservbyname("http", "tcp")
    except OSError:
        pytest.skip("this machine has no list of services")
    assert Forward("example.org:http").address == ("example.org", port)
    assert Forward("[::1]:HTTP").address == ("::1", port)
    assert Forward("a:1", fallback=["b:http"]).fallback[0].address == ("b", port)
    with TheServer("127.0.0.1:0", None, "example.org:http", mirror_to="shadow:http") as server:
        assert server.mirror_to == Forward("shadow:80")
    for text in ("unix:http", "fd:http", "http", "a:b:http", "example.org:80", "systemd:http"):
        assert numbered(text) == text


def test_a_service_s_slip_is_answered_with_the_nearest() -> None:
    if not Path("/etc/services").exists():
        pytest.skip("this machine has no list of services")
    with pytest.raises(AddressError, match=r'"db:htpt": this machine knows no service htpt; did you mean db:http\?'):
        Forward("db:htpt")
    with pytest.raises(AddressError, match="this machine knows no service zzqqy; write its number, such as db:5432"):
        Forward("db:zzqqy")


def test_a_machine_without_a_list_names_the_ports_that_everybody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_is_known(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(socket, "getservbyname", none_is_known)
    monkeypatch.setattr(_service_names, "_LIST", "/no/such/list")
    with pytest.raises(AddressError, match="mqtt is mostly 1883: write db:1883"):
        Forward("db:mqtt")
