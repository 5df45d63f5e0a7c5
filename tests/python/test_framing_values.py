"""Framings as values, their arguments, and the slips that are answered with the right one; without a server."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interpose import ArgumentTypeError, ConfigError, FramingError, InterposeError, Relay, TheServer, framing
from interpose.framing import Framing
from support.dialogues import DIALOGUES, Messages, said

TARGET = ("example.org", 80)


def cut_at_zero(buffer: memoryview) -> int | None:
    return bytes(buffer).find(b"\0") + 1 or None


def cut_with_yield(buffer: memoryview) -> Iterator[int]:
    yield len(buffer)


EVERY: dict[str, Callable[[], Framing]] = {
    "framing.lines()": framing.lines,
    "framing.delimited(b'\\r\\n')": lambda: framing.delimited(b"\r\n"),
    "framing.fixed(4)": lambda: framing.fixed(4),
    "framing.length_prefixed(2)": lambda: framing.length_prefixed(2),
    "framing.length_prefixed(4, offset=1, adjust=-4)": lambda: framing.length_prefixed(4, 1, adjust=-4),
    "framing.length_prefixed(8, byteorder='little')": lambda: framing.length_prefixed(8, byteorder="little"),
    "framing.varint()": framing.varint,
    "framing.tls_records()": framing.tls_records,
    "framing.resp()": framing.resp,
    "framing.postgres()": framing.postgres,
    "framing.mysql()": framing.mysql,
    "framing.mqtt()": framing.mqtt,
    "framing.modbus()": framing.modbus,
    "framing.dns()": framing.dns,
    "framing.http1()": framing.http1,
}
FRAMINGS_WITH_ARGUMENTS = {"custom", "delimited", "fixed", "length_prefixed"}
MADE = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def test_every_function_of_the_module_is_tried() -> None:
    tried = {text.split(".")[1].split("(")[0] for text in EVERY} | {"custom"}
    assert tried | {"Framing"} == set(framing.__all__)
    assert framing.__all__ == ["Framing", *sorted(set(framing.__all__) - {"Framing"})]


@pytest.mark.parametrize(("shown", "make"), EVERY.items(), ids=EVERY)
def test_one_is_shown_as_it_is_made(shown: str, make: Callable[[], Framing]) -> None:
    assert repr(make()) == shown
    assert eval(shown, {"framing": framing}) == make()
    assert make().name == shown.split(".")[1].split("(")[0]


@MADE
def test_one_compares_by_value_and_cannot_be_changed(make: Callable[[], Framing]) -> None:
    one: Any = make()
    assert one == make()
    assert hash(one) == hash(make())
    assert one != "framing.lines()"
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    for name in ("name", "framing"):
        with pytest.raises(AttributeError):
            setattr(one, name, 1)


def test_no_two_are_equal() -> None:
    made = {make() for make in EVERY.values()} | {framing.custom(cut_at_zero), framing.custom(len)}
    assert len(made) == len(EVERY) + 2
    assert framing.custom(cut_at_zero) == framing.custom(cut_at_zero)
    assert repr(framing.custom(cut_at_zero)) == f"framing.custom({cut_at_zero!r})"


@pytest.mark.parametrize(("make", "messages"), DIALOGUES.values(), ids=DIALOGUES)
def test_split_cuts_what_each_side_says(make: Callable[[], Framing], messages: Messages) -> None:
    assert make().split(b"") == [b""]
    words = said(messages, True)
    assert make().split(b"".join(words)) == [*words, b""]
    assert make().split(b"".join(words)[:-1]) == [*words[:-1], words[-1][:-1]]
    answers = b"".join(said(messages, False))
    assert b"".join(make().split(answers, client=False)) == answers


@pytest.mark.parametrize(
    ("made", "data", "parts"),
    [
        (framing.lines(), b"a\nb\r\n\nc", [b"a\n", b"b\r\n", b"\n", b"c"]),
        (framing.delimited(b"--"), b"a--b-", [b"a--", b"b-"]),
        (framing.fixed(3), b"abcdef", [b"abc", b"def", b""]),
        (framing.length_prefixed(1), b"\1a\0\2b", [b"\1a", b"\0", b"\2b"]),
        (framing.length_prefixed(2, 1, "little", -3), b"x\4\0ay\3\0z", [b"x\4\0a", b"y\3\0", b"z"]),
        (framing.custom(cut_at_zero), b"a\0bc\0d", [b"a\0", b"bc\0", b"d"]),
    ],
    ids=["lines", "delimited", "fixed", "length_prefixed", "length_prefixed little", "custom"],
)
def test_split_returns_the_messages_and_what_is_left(made: Framing, data: bytes, parts: list[bytes]) -> None:
    assert made.split(data) == parts
    assert made.split(memoryview(data)) == parts
    assert b"".join(made.split(bytearray(data))) == data


def test_split_sees_each_side_as_it_speaks() -> None:
    pg = framing.postgres()
    assert pg.split(b"\0\0\0\x08\x04\xd2\x16\x2f") == [b"\0\0\0\x08\x04\xd2\x16\x2f", b""]
    assert pg.split(b"Z\0\0\0\5I", client=False) == [b"Z\0\0\0\5I", b""]


def test_bytes_that_break_the_protocol_are_an_error_with_place_and_expectation() -> None:
    with pytest.raises(FramingError, match=r"^tls.*byte 7: expected ") as raised:
        framing.tls_records().split(b"\x15\x03\x03\0\2\1\0GET / HTTP/1.1\r\n")
    assert isinstance(raised.value, InterposeError)
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)


WRONG: list[tuple[Callable[[], object], type[InterposeError], str]] = [
    (lambda: framing.delimited("\r\n"), ArgumentTypeError, r"delimiter: it is str, not bytes; write b'\r\n'"),  # type: ignore[arg-type]
    (lambda: framing.delimited(10), ArgumentTypeError, 'delimiter: it is int, not bytes; write b"\\r\\n"'),  # type: ignore[arg-type]
    (lambda: framing.fixed(), ArgumentTypeError, "n: it is missing; write framing.fixed(16)"),  # type: ignore[call-arg]
    (
        lambda: framing.fixed(1, 2),  # type: ignore[call-arg]
        ArgumentTypeError,
        "fixed: it takes n, and has 2 arguments; write framing.fixed(16)",
    ),
    (
        lambda: framing.fixed(size=3),  # type: ignore[call-arg]
        ArgumentTypeError,
        "size: there is no such argument; did you mean n?",
    ),
    (
        lambda: framing.delimited(),  # type: ignore[call-arg]
        ArgumentTypeError,
        'delimiter: it is missing; write framing.delimited(b"\\r\\n")',
    ),
    (
        lambda: framing.length_prefixed(offset=1),  # type: ignore[call-arg]
        ArgumentTypeError,
        "width: it is missing; write framing.length_prefixed(4)",
    ),
    (
        lambda: framing.length_prefixed(4, 0, "big", 0, 1),  # type: ignore[call-arg]
        ArgumentTypeError,
        "length_prefixed: it takes width, offset, byteorder, adjust, and has 5 arguments; "
        "write framing.length_prefixed(4)",
    ),
    (
        lambda: framing.custom(),  # type: ignore[call-arg]
        ArgumentTypeError,
        "function: it is missing; write framing.custom(function)",
    ),
    (
        lambda: framing.custom(framing.lines()),  # type: ignore[arg-type]
        ArgumentTypeError,
        "function: it is a Framing already; write framing=framing.lines()",
    ),
    (
        lambda: framing.custom(framing.length_prefixed),  # type: ignore[arg-type]
        ArgumentTypeError,
        "function: framing.length_prefixed makes a Framing; write framing=framing.length_prefixed(...)",
    ),
    (
        lambda: framing.custom(cut_with_yield),  # type: ignore[arg-type]
        ArgumentTypeError,
        "function: it has a yield, and is called anew for each message; return the message's length",
    ),
    (lambda: framing.fixed(0), ConfigError, "n: it is below 1; give at least 1"),
    (lambda: framing.fixed(True), ArgumentTypeError, "n: it is bool, not an int; give a whole number from 1 on"),
    (lambda: framing.fixed("4"), ArgumentTypeError, "n: it is str, not an int; give a whole number from 1 on"),  # type: ignore[arg-type]
    (lambda: framing.length_prefixed(0), ConfigError, "width: it is below 1; give at least 1"),
    (lambda: framing.length_prefixed(9), ConfigError, "width: it is above 8; give less"),
    (lambda: framing.length_prefixed(2, -1), ConfigError, "offset: it is below 0; give at least 0"),
    (
        lambda: framing.length_prefixed(2, byteorder="network"),  # type: ignore[arg-type]
        ConfigError,
        'byteorder: \'network\' is neither "big" nor "little"; did you mean "big"?',
    ),
    (
        lambda: framing.length_prefixed(2, byteorder="litle"),  # type: ignore[arg-type]
        ConfigError,
        'byteorder: \'litle\' is neither "big" nor "little"; did you mean "little"?',
    ),
    (
        lambda: framing.length_prefixed(2, byteorder="middle-out"),  # type: ignore[arg-type]
        ConfigError,
        'byteorder: \'middle-out\' is neither "big" nor "little"; give one of them',
    ),
    (
        lambda: framing.length_prefixed(2, byteorder=1),  # type: ignore[arg-type]
        ArgumentTypeError,
        'byteorder: it is int, not a text; give "big" or "little"',
    ),
    (
        lambda: framing.length_prefixed(size=2),  # type: ignore[call-arg]
        ArgumentTypeError,
        "size: there is no such argument; did you mean width?",
    ),
    (
        lambda: framing.length_prefixed(2, endian="big"),  # type: ignore[call-arg]
        ArgumentTypeError,
        "endian: there is no such argument; did you mean byteorder?",
    ),
    (
        lambda: framing.custom(7),  # type: ignore[arg-type]
        ArgumentTypeError,
        "function: it is int, not a function; give one that can be called as function(buffer)",
    ),
    (
        lambda: framing.custom(lambda: 1),  # type: ignore[arg-type, misc]
        ArgumentTypeError,
        "function: it takes (), and is called with one buffer; give one that can be called as function(buffer)",
    ),
    (
        lambda: framing.lines().split("a\n"),  # type: ignore[arg-type]
        ArgumentTypeError,
        "data: it is str, not bytes; give bytes, such as text.encode()",
    ),
    (
        lambda: framing.lines().split(b"a\n", client=1),  # type: ignore[arg-type]
        ArgumentTypeError,
        "client: it is int, not a bool; give True or False",
    ),
    (
        lambda: Framing("lines"),
        ArgumentTypeError,
        "Framing: it is made by a function of interpose.framing; write framing.lines()",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), WRONG, ids=[text for _, _, text in WRONG])
def test_a_wrong_argument_is_a_typed_error_in_one_line(
    call: Callable[[], object], kind: type[InterposeError], text: str
) -> None:
    with pytest.raises(kind) as raised:
        call()
    assert str(raised.value) == text


@pytest.mark.parametrize("name", sorted(set(framing.__all__) - {"Framing", *FRAMINGS_WITH_ARGUMENTS}))
def test_a_framing_without_arguments_says_how_it_is_written(name: str) -> None:
    make: Any = getattr(framing, name)
    for call in (functools.partial(make, 4), functools.partial(make, delimiter=b"a")):
        with pytest.raises(ArgumentTypeError) as raised:
            call()
        assert str(raised.value) == f"{name}: it takes no arguments; write framing.{name}()"


def test_an_empty_delimiter_is_refused() -> None:
    with pytest.raises(ConfigError, match="delimite"):
        framing.delimited(b"")


def test_a_function_that_is_async_is_refused() -> None:
    async def cut(buffer: memoryview) -> int | None: ...

    with pytest.raises(ArgumentTypeError, match=r"function: it is async def, .* give a plain def"):
        framing.custom(cut)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("line", "lines"),
        ("ndjson", "lines"),
        ("redis", "resp"),
        ("postgresql", "postgres"),
        ("http", "http1"),
        ("tls", "tls_records"),
        ("length_prefix", "length_prefixed"),
        ("lenght_prefixed", "length_prefixed"),
        ("protobuf", "varint"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(wrong: str, right: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{wrong}'; did you mean {right}\?"):
        getattr(framing, wrong)
    assert not hasattr(framing, "unheard_of")


NO_FRAMINGS: list[tuple[Any, type[InterposeError], str]] = [
    ("lines", ArgumentTypeError, "framing: it is str, not a Framing; did you mean framing.lines()?"),
    ("redis", ArgumentTypeError, "framing: it is str, not a Framing; did you mean framing.resp()?"),
    ("fixed", ArgumentTypeError, "framing: it is str, not a Framing; did you mean framing.fixed(16)?"),
    (
        "words",
        ArgumentTypeError,
        "framing: it is str, not a Framing; give one such as framing.lines(), a pair (of_client, of_upstream), or None",
    ),
    (
        framing.lines,
        ArgumentTypeError,
        "framing: framing.lines is the function that makes one; call it: framing.lines()",
    ),
    (
        framing.length_prefixed,
        ArgumentTypeError,
        "framing: framing.length_prefixed is the function that makes one; call it: framing.length_prefixed(2)",
    ),
    (framing, ArgumentTypeError, "framing: it is a module; call one of its functions, such as framing.lines()"),
    (Framing, ArgumentTypeError, "framing: Framing is the class of all; call a function, such as framing.lines()"),
    (b"\n", ArgumentTypeError, "framing: it is bytes, not a Framing; did you mean framing.delimited(b'\\n')?"),
    (16, ArgumentTypeError, "framing: it is int, not a Framing; did you mean framing.fixed(16)?"),
    (
        cut_at_zero,
        ArgumentTypeError,
        "framing: it is function, not a Framing; for a function that cuts, write framing.custom(function)",
    ),
    ((framing.lines(), "lines"), ArgumentTypeError, "framing: it is str, not a Framing; did you mean framing.lines()?"),
    (
        (None, None),
        ConfigError,
        "framing: it frames neither side; leave it out for chunks, or write (framing.lines(), None) for one side",
    ),
    (
        (framing.lines(),),
        ConfigError,
        "framing: the tuple has 1 items, not 2; give (of_client, of_upstream), None where a side has no framing",
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "text"), NO_FRAMINGS, ids=[text for _, _, text in NO_FRAMINGS])
def test_what_is_no_framing_is_refused_before_a_port_is_bound(
    wrong: Any, kind: type[InterposeError], text: str
) -> None:
    with pytest.raises(kind) as raised:
        TheServer("", 0, TARGET, framing=wrong)
    assert str(raised.value) == text


def test_a_server_keeps_its_framing() -> None:
    class Lined(TheServer):
        framing = framing.lines()

    pair = (None, framing.fixed(2))
    made: list[tuple[Any, Any]] = [
        (TheServer("", 0, TARGET), None),
        (TheServer("", 0, TARGET, framing=framing.lines()), framing.lines()),
        (TheServer("", 0, TARGET, framing=pair), pair),
        (Lined("", 0, TARGET), framing.lines()),
        (Lined("", 0, TARGET, framing=pair), pair),
        # The one way to take the framing of a class away.
        (Lined("", 0, TARGET, framing=(None, None)), (None, None)),
    ]
    for server, wanted in made:
        assert server.framing == wanted
        with pytest.raises(AttributeError, match="framing: it is fixed once the server listens"):
            server.framing = None
        server.stop()


def test_limits_of_messages_are_settings_of_the_relay() -> None:
    assert (Relay().max_message, Relay().framing_errors) == (16 * 1024 * 1024, "close")
    word: Any = "pass"
    for call in (functools.partial(Relay, max_message=0), functools.partial(Relay, framing_errors=word)):
        with pytest.raises(ConfigError, match=r"max_message: it is below 1|framing_errors: it is neither"):
            call()
    with pytest.raises(ArgumentTypeError, match=r"max_message: there is no such argument.*Relay\(max_message=\.\.\.\)"):
        TheServer("", 0, TARGET, max_message=5)  # type: ignore[call-arg]
