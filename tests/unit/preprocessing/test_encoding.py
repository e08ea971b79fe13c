from __future__ import annotations

import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.cleaning import Cleaning
from modelyard.preprocessing.encoding import CHARACTERS_PER_TOKEN, Image, Text
from modelyard.preprocessing.options import ImageOptions, ScalingOptions
from modelyard.preprocessing.vocabulary import PADDING_ID, UNKNOWN_ID, Vocabulary, fit
from tests.unit.preprocessing.test_preprocessing import objects


@pytest.mark.parametrize(
    ("cleaning", "expected"),
    [
        (Cleaning(), "a b c if 1 < 2 & x > y fi"),
        (Cleaning(html=False), "a<br />b c if 1 < 2 &amp; x > y fi"),
        (Cleaning(unicode="", lower=False), "A B\u200ac".replace("\u200a", " ") + " if 1 < 2 & x > y ﬁ"),
    ],
)
def test_cleaning(cleaning: Cleaning, expected: str) -> None:
    assert cleaning.clean("A<br />B\u2003c\n\n if 1 < 2 &amp; x > y ﬁ") == expected


def test_words() -> None:
    vocabulary = fit(["great film, great", "film !"], "word", 10, 1, 5)
    assert vocabulary.size == 2 + 4
    ids = vocabulary.ids(["great dull film", "", "film film film film film film"])
    assert ids[0, 1] == UNKNOWN_ID
    assert len({*ids[0, :3].tolist()}) == 3
    assert (ids[0, 3:] == PADDING_ID).all()
    assert (ids[1] == PADDING_ID).all()
    assert (ids[2] == ids[0, 2]).all()
    assert vocabulary.ids([]).shape == (0, 5)


def test_the_vocabulary_has_the_most_frequent_words_and_no_rare_ones() -> None:
    texts = ["c c c b b a"]
    assert fit(texts, "word", 4, 1, 3).ids(["c b a"]).tolist() == [[2, 3, UNKNOWN_ID]]
    assert fit(texts, "word", 9, 3, 3).ids(["c b a"]).tolist() == [[2, UNKNOWN_ID, UNKNOWN_ID]]


def test_special_tokens_in_a_text_are_text() -> None:
    vocabulary = fit(["a <pad> b <unk>"], "word", 20, 1, 8)
    assert PADDING_ID not in vocabulary.ids(["<pad>"])[0, :3]


def test_byte_pairs_know_every_text() -> None:
    vocabulary = fit(["film film films"], "bpe", 300, 2, 30)
    ids = vocabulary.ids(["films 映画 \x00"])
    assert UNKNOWN_ID not in ids
    assert vocabulary.ids(["film"]).astype(bool).sum() < 4


def test_of_a_long_text_its_beginning_is_looked_at() -> None:
    step = Text("text", "ids", 4, "word")
    (cleaned,) = step.cleaned(objects([b"ab " * (1 << 20)]))
    assert len(cleaned) == 4 * CHARACTERS_PER_TOKEN


def test_a_vocabulary_of_ids_that_leave_gaps() -> None:
    with pytest.raises(InvalidInputError, match="with the ids 0, 1, 2"):
        Vocabulary("word", {"<pad>": 0, "<unk>": 1, "a": 3}, [], 4)


def test_scaling_by_range_and_of_what_is_constant() -> None:
    values = np.array([[1, 5, 0.1], [3, 5, 0.1], [2, 5, 0.1]])
    step, _ = ScalingOptions(("v",), method="range").fit({"v": values})
    np.testing.assert_allclose(
        step.encode({"v": values}, None), np.array([[0, 0, 0], [1, 0, 0], [0.5, 0, 0]]), atol=1e-6
    )
    with pytest.raises(InvalidInputError, match="expected 3 columns"):
        step.encode({"v": values[:, :2]}, None)


def test_numbers_that_nothing_can_be_fitted_to() -> None:
    with pytest.raises(InvalidInputError, match="'v': row 1: expected finite numbers"):
        ScalingOptions(("v",)).fit({"v": np.array([1, np.nan])})
    with pytest.raises(InvalidInputError, match="'v': expected numbers, got object"):
        ScalingOptions(("v",)).fit({"v": objects([b"a"])})
    with pytest.raises(InvalidInputError, match="expected at least one row"):
        ScalingOptions(("v",)).fit({"v": np.zeros(0)})


def test_images() -> None:
    pixels = np.zeros((1, 1, 2, 3), np.uint8)
    pixels[0, 0, 1] = [255, 51, 102]
    found = Image("image", "x", (0.0, 0.1, 0.2), (1.0, 0.5, 2.0)).encode({"image": pixels}, None)
    np.testing.assert_allclose(found[0, :, 0, 1], [1, 0.2, 0.1], rtol=1e-6)
    with pytest.raises(InvalidInputError, match=r"expected \[n, H, W, 3\], got \[1, 2, 3\]"):
        Image("image", "x", (0.0,) * 3, (1.0,) * 3).encode({"image": pixels[0]}, None)
    with pytest.raises(InvalidInputError, match=r"expected UINT8 \[n, H, W, C\], got float64"):
        ImageOptions().fit({"image": np.zeros((2, 2))})
