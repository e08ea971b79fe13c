import numpy as np
import numpy.typing as npt
import pytest

from modelyard.errors import InvalidInputError
from modelyard.oip.classification import classify
from modelyard.oip.datatypes import DATATYPES

ROWS = np.array([[0.25, 0.5, 0.25], [1.0, -2.0, 3.0]], np.float32)


def test_each_row_of_a_batch_has_its_own_classes() -> None:
    classes = classify("y", "FP32", ROWS, 2, batched=True)
    assert classes.dtype == object
    assert classes.tolist() == [[b"0.500000:1", b"0.250000:0"], [b"3.000000:2", b"1.000000:0"]]


def test_without_batches_all_elements_are_one_row() -> None:
    assert classify("y", "FP32", ROWS, 2, batched=False).tolist() == [b"3.000000:5", b"1.000000:3"]


def test_dimensions_beside_the_rows_count_as_one() -> None:
    classes = classify("y", "INT32", np.arange(8, dtype=np.int32).reshape(2, 2, 2), 1, batched=True)
    assert classes.tolist() == [[b"3:3"], [b"7:3"]]


def test_there_are_no_more_classes_than_elements() -> None:
    assert classify("y", "FP32", ROWS, 9, batched=True).shape == (2, 3)


def test_labels_stand_last_where_there_are_some() -> None:
    classes = classify("y", "FP32", ROWS[:1], 3, batched=True, labels=["cat", "dog"])
    assert classes.tolist() == [[b"0.500000:1:dog", b"0.250000:0:cat", b"0.250000:2"]]


def test_of_equal_elements_the_first_comes_first_and_nan_last() -> None:
    scores = np.array([np.nan, 1, 2, 2, -np.inf], np.float64)
    indices = [int(c.split(b":")[1]) for c in classify("y", "FP64", scores, 5, batched=False)]
    assert indices[:3] == [2, 3, 1]
    assert sorted(indices[3:]) == [0, 4]


@pytest.mark.parametrize("name", [n for n, row in DATATYPES.items() if row.dtype.kind in "iu" and n != "BF16"])
def test_extreme_integers_are_in_order(name: str) -> None:
    limits = np.iinfo(DATATYPES[name].dtype.name)
    scores: npt.NDArray[np.generic] = np.array([limits.min, limits.max, 1], DATATYPES[name].dtype)
    assert classify("y", name, scores, 1, batched=False).tolist() == [f"{limits.max}:1".encode()]


def test_half_precision() -> None:
    assert classify("y", "FP16", np.array([0.5, 1.5], "<f2"), 1, batched=False).tolist() == [b"1.500000:1"]
    bits = np.array([0x3F80, 0xC000], "<u2")  # 1 and -2 as bfloat16
    assert classify("y", "BF16", bits, 2, batched=False).tolist() == [b"1.000000:0", b"-2.000000:1"]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_nothing_to_classify(shape: tuple[int, ...]) -> None:
    assert classify("y", "FP32", np.zeros(shape, np.float32), 2, batched=True).size == 0
    assert classify("y", "FP32", np.zeros(shape, np.float32), 2, batched=False).tolist() == []


@pytest.mark.parametrize("name", ["BOOL", "BYTES"])
def test_what_has_no_order_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"output 'y': expected a number to classify, got {name}"):
        classify("y", name, np.array([True]), 1, batched=False)
