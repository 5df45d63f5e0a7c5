"""What comes, compared with the record while it comes: at every cut, with masks and without."""

from __future__ import annotations

import re
import time

import pytest
from interpose import ArgumentTypeError, ConfigError
from interpose.replay._comparison import Comparison
from interpose.replay._masks import masks_of

DIGITS = rb"\d+"
HEX = rb"[0-9a-f]{8}(-[0-9a-f]{4})+"


def fed(comparison: Comparison, data: bytes, size: int) -> Comparison:
    for at in range(0, len(data), size):
        comparison.feed(data[at : at + size])
    return comparison


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("expected", "came", "masks"),
    [
        (b"GET a\r\nGET b\r\n", b"GET a\r\nGET b\r\n", []),
        (b"id=1\r\n", b"id=98765\r\n", [DIGITS]),
        (b"id=98765\r\n", b"id=1\r\n", [DIGITS]),
        (b"id=12", b"id=7", [DIGITS]),
        (b"a 1 b 22 c\n", b"a 333 b 4 c\n", [DIGITS]),
        (b"12345678-0000 x", b"abcdef01-1111-2222 x", [HEX]),
        (
            b"Host: one:80\r\nDate: Mon\r\n\r\n",
            b"Host: other:8080\r\nDate: Tuesday\r\n\r\n",
            [rb"Host: .*", rb"Date: .*"],
        ),
        (b"x" * 200 + b"1" + b"y" * 200, b"x" * 200 + b"4711" + b"y" * 200, [DIGITS]),
    ],
)
def test_what_fits_is_complete_however_it_is_cut(expected: bytes, came: bytes, masks: list[bytes], size: int) -> None:
    comparison = fed(Comparison(expected, [len(expected)], masks_of(masks)), came, size)
    assert comparison.difference is None
    assert comparison.is_complete
    assert comparison.matched == len(expected)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("expected", "came", "masks", "offset", "wanted", "got"),
    [
        (b"GET a\r\n", b"GET b\r\n", [], 4, rb"b'a\r\n'", rb"b'b"),
        (b"GET a\r\n", b"GET a\r\nGET", [], 7, b"nothing more", b"b'"),
        (b"id=123\r\n", b"id=abc\r\n", [DIGITS], 3, rb"a match of the mask b'\\d+', as b'123' is", b"b'a"),
        (b"id=123; path=/", b"id=12x", [DIGITS], 3, rb"a match of the mask b'\\d+', as b'123' is", b"b'12x"),
        (b"id=123; path=/", b"id=12; x", [DIGITS], 3, rb"a match of the mask b'\\d+', as b'123' is", b"b'12; x"),
        (b"id=123", b"id=abc", [DIGITS], 3, rb"a match of the mask b'\\d+', as b'123' is", b"b'a"),
    ],
)
def test_the_first_difference_has_its_place(
    expected: bytes, came: bytes, masks: list[bytes], offset: int, wanted: bytes, got: bytes, size: int
) -> None:
    found = fed(Comparison(expected, [len(expected)], masks_of(masks)), came, size).difference
    assert found is not None
    assert (found.offset, found.expected) == (offset, wanted.decode())
    assert found.got.startswith(got.decode())


def test_an_answer_is_due_before_bytes_show_where_a_mask_ends() -> None:
    comparison = Comparison(b"id=12QUIT", [5, 9], masks_of(DIGITS))
    for piece in (b"id=4", b"5"):
        comparison.feed(piece)
        assert (comparison.matched, comparison.left) == (5, 4)
    comparison.feed(b"QUIT")
    assert comparison.is_complete
    assert comparison.difference is None


def test_what_may_still_become_a_match_is_waited_for_and_named() -> None:
    comparison = Comparison(b"id=1\r\n", [6], masks_of(DIGITS))
    comparison.feed(b"id=1\r")
    assert comparison.difference is None
    assert (comparison.matched, comparison.held()) == (3, r"b'1\r'")
    comparison.feed(b"x")
    assert comparison.difference is not None, "nothing can make a match of it any more"


def test_what_a_mask_may_match_is_bounded() -> None:
    comparison = Comparison(b"<1>end", [6], masks_of(rb"<.*>"))
    comparison.feed(b"<")
    for _ in range(200):
        comparison.feed(b"x" * 1000)
    found = comparison.difference
    assert found is not None
    assert len(found.got) < 100


def test_without_masks_nothing_is_kept() -> None:
    comparison = Comparison(bytes(1_000_000), [1_000_000])
    for _ in range(999):
        comparison.feed(bytes(1000))
    assert comparison.matched == 999_000
    assert comparison.held() == ""


@pytest.mark.parametrize(
    ("masks", "kind", "text"),
    [
        (7, ArgumentTypeError, "mask: it is int, not a list of regular expressions"),
        ([7], ArgumentTypeError, "mask: it is int, not a regular expression of bytes"),
        ([re.compile("a")], ArgumentTypeError, "mask: it is str, not bytes; write re.compile"),
        (b"", ConfigError, "mask: it is empty"),
        (rb"a(", ConfigError, "mask: b'a(' is no regular expression (missing ), unterminated subpattern"),
    ],
)
def test_masks_that_are_none(masks: object, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        masks_of(masks)


def test_masks_may_be_text_and_compiled() -> None:
    assert [one.pattern for one in masks_of(["a", rb"b", re.compile(rb"c")])] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("behind", [b"", b"\n"])
def test_a_mask_takes_time_in_proportion_to_what_has_come(behind: bytes) -> None:
    """Python's own matcher would take longer than the universe has."""
    expected = b"aab" + behind
    comparison = Comparison(expected, [len(expected)], masks_of([rb"(a|a)*(a|a)*b"]))
    begun = time.monotonic()
    fed(comparison, b"a" * 40_000 + behind, 10_000)
    assert time.monotonic() - begun < 5
    assert not comparison.is_complete


def test_a_mask_that_only_python_understands_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mask: at character 1: look-around") as raised:
        masks_of([rb"(?<=id=)\d+"])
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"mask: .* matches where there is nothing"):
        masks_of([rb"\d*"])
