"""What is told of an error that ends a job."""

from __future__ import annotations

import errno

import pytest

from modelyard import codec
from modelyard.errors import ExhaustedError, InvalidInputError, UnavailableError
from modelyard.train.control.connection import MAX_BYTES
from modelyard.train.control.envelopes import packed, unpacked
from modelyard.train.control.messages import Failed
from modelyard.train.elastic.failures import MOST_REASON, MOST_TRACEBACK, bounded, failed, passes
from modelyard.train.failure import RecipeError


def test_what_is_long_is_cut_and_of_a_traceback_the_end_is_kept() -> None:
    found = failed(RecipeError("r" * 3_000_000, "t" * 3_000_000 + "the cause"))
    assert found.reason == "r" * MOST_REASON
    assert len(found.traceback) == MOST_TRACEBACK
    assert found.traceback.endswith("the cause")
    assert len(packed(failed(RecipeError("\U0001f600" * 9_999, "\x00" * 99_999)))) < MAX_BYTES


def test_what_is_no_text_is_replaced() -> None:
    with pytest.raises(UnicodeEncodeError):
        codec.encode(Failed("\ud800"))
    assert unpacked(packed(bounded(Failed("a\ud800", "\udfffb")))) == Failed("a?", "?b")


def test_an_error_of_no_kind_is_told_by_its_name_and_first_line() -> None:
    try:
        raise ValueError("odd\nand more")
    except ValueError as error:
        found = failed(error)
    assert found.reason == "ValueError: odd"
    assert 'raise ValueError("odd\\nand more")' in found.traceback


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnavailableError("away"), True),
        (ExhaustedError("full"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (TimeoutError(), True),
        (InvalidInputError("wrong"), False),
        (RecipeError("raised"), False),
        (MemoryError(), False),
    ],
)
def test_what_is_away_or_full_passes(error: Exception, expected: bool) -> None:
    assert passes(error) is expected
