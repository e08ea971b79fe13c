from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.datasets.columns import Array, whole_batch
from modelyard.datasets.conversion import convert, refusal, widened
from modelyard.datasets.delimited import CsvDataset
from modelyard.datasets.mapping import bind, parse_columns
from modelyard.datasets.npy import NpyDataset
from modelyard.datasets.parquet import ParquetDataset
from modelyard.errors import InvalidInputError
from tests.unit.datasets.test_parquet import written
from tests.unit.datasets.written import source

FLOATS = Signature((TensorSpec("x", "FP32", (-1, 3)),))
TEXT = "k,a,b,c\nu,1,2.5,3\nv,4,5,0.1\n"


def csv(text: str = TEXT) -> CsvDataset:
    return CsvDataset(source(text, "x.csv"))


def signature(*inputs: tuple[str, str, tuple[int, ...]]) -> Signature:
    return Signature(tuple(TensorSpec(*one) for one in inputs))


def test_several_scalar_columns_make_one_input() -> None:
    dataset = csv()
    binding = bind(dataset, FLOATS, parse_columns(["x=c,a,b"]))
    assert binding.names == ("c", "a", "b")
    found = binding.inputs(dataset.batch(0, 2, binding.names)).whole()["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[3, 1, 2.5], [0.1, 4, 5]], np.float32))


def test_the_rest_is_what_no_other_input_takes() -> None:
    both = signature(("k", "BYTES", (-1,)), ("x", "FP32", (-1, 3)))
    assert bind(csv(), both, {"x": ["*"]}).names == ("k", "a", "b", "c")
    with pytest.raises(InvalidInputError, match="has no columns that are not mapped elsewhere"):
        bind(csv("k\n1\n"), both, {"x": ["*"], "k": ["k"]})


def test_the_rest_has_no_keys() -> None:
    assert bind(csv(), FLOATS, {"x": ["*"]}, keys={"k"}).names == ("a", "b", "c")
    one = signature(("x", "FP32", (-1, 1)))
    assert bind(csv(), one, {"x": ["a"]}, keys={"a"}).names == ("a",)


def test_by_name_or_the_only_one_for_the_only_one() -> None:
    assert bind(csv(), signature(("a", "INT64", (-1,)), ("k", "BYTES", (-1,)))).names == ("a", "k")
    assert bind(csv("z\n1\n2\n"), signature(("x", "FP32", (-1, 1)))).names == ("z",)


@pytest.mark.parametrize(
    ("inputs", "columns", "message"),
    [
        ([("x", "FP32", (-1, 3))], {"x": ["nope"]}, "expected a column of 'k', 'a', 'b', 'c'; got 'nope'"),
        ([("x", "FP32", (-1, 3))], {"y": ["a"]}, "expected inputs of 'x'; got a mapping for 'y'"),
        ([("x", "FP32", (-1, 3))], {}, "input 'x': expected a column of that name, or a mapping; x.csv has 'k': BYTES"),
        ([("x", "FP32", (-1, 2))], {"x": "abc"}, r"input x: FP32 \[-1, 2\]; got 3 scalar columns"),
        ([("x", "FP32", (-1, 2, 2))], {"x": "a"}, r"got 'a': INT64 \[\]"),
        ([("x", "FP32", ())], {"x": "a"}, r"expected rows for input x: FP32 \[\]"),
        ([("x", "FP32", (-1,))], {"x": "k"}, r"'k': BYTES \[\] \(row 0 has 'u'\): BYTES is not converted to FP32"),
        ([("k", "BYTES", (-1,))], {"k": "a"}, "INT64 is not converted to BYTES"),
    ],
)
def test_what_does_not_fit_is_refused(
    inputs: list[tuple[str, str, tuple[int, ...]]], columns: Mapping[str, Sequence[str]], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        bind(csv(), signature(*inputs), columns)


def test_the_row_whose_value_the_datatype_has_not_is_named() -> None:
    dataset = csv("a\n1\n300\n2.5\n7\n")
    binding = bind(dataset, signature(("a", "UINT8", (-1,))))
    batch = binding.inputs(dataset.batch(0, 4))
    assert batch.rows.tolist() == [0, 3]
    assert batch.columns["a"].tolist() == [1, 7]
    assert batch.failed[1] == "input 'a': column 'a' has 300.0, which UINT8 has not"
    assert sorted(batch.failed) == [1, 2]
    rounded = bind(dataset, signature(("a", "UINT8", (-1,))), cast=True).inputs(dataset.batch(0, 4))
    assert rounded.columns["a"].tolist() == [1, 2, 7]


def test_where_no_row_can_be_read_there_are_none() -> None:
    dataset = csv("a,b\n1,2\n3,\n")
    batch = bind(dataset, signature(("x", "FP32", (-1, 2))), {"x": ["*"]}).inputs(dataset.batch(1, 2))
    assert (batch.columns["x"].shape, batch.failed) == ((0, 2), {1: "column 'b': has no value"})


def test_declared_doubles_become_floats_only_when_asked() -> None:
    dataset = ParquetDataset(source(written({"v": [[0.1, 0.2, 0.3]]}), "x.parquet"))
    with pytest.raises(InvalidInputError, match="FP64 does not fit into FP32 without loss; ask for a cast"):
        bind(dataset, FLOATS, {"x": ["v"]})
    binding = bind(dataset, FLOATS, {"x": ["v"]}, cast=True)
    assert binding.inputs(dataset.batch(0, 1)).whole()["x"].dtype == np.float32
    with pytest.raises(InvalidInputError, match="expected scalar columns where there are several, got 'v'"):
        bind(dataset, FLOATS, {"x": ["v", "v"]})


def test_dimensions_that_nobody_knows_yet_fit() -> None:
    dataset = NpyDataset("x", {})
    dataset.columns = csv().columns
    assert bind(dataset, signature(("a", "INT64", (-1, -1)))).feeds[0].stacked


@pytest.mark.parametrize("texts", [["x"], ["=a"], ["x="], ["x=a", "x=b"]])
def test_a_mapping_that_is_none_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="expected each input once, as INPUT=COLUMN"):
        parse_columns(texts)


@pytest.mark.parametrize(
    ("values", "target", "kept"),
    [
        (np.array([2**53, 2**53 + 1, 2**63 - 1, -(2**63)]), "FP64", [1, 0, 0, 1]),
        (np.array([2**24, 2**24 + 1]), "FP32", [1, 0]),
        (np.array([2048, 2049, 70000]), "FP16", [1, 0, 0]),
        (np.array([127, 128, -128, -129]), "INT8", [1, 0, 1, 0]),
        (np.array([-1, 0, 2**63 - 1]), "UINT64", [0, 1, 1]),
        (np.array([2**63, 2**63 - 1], np.uint64), "INT64", [0, 1]),
        (np.array([1.0, 1.5, np.nan, np.inf, 2.0**63, -(2.0**63)]), "INT64", [1, 0, 0, 0, 0, 1]),
        (np.array([0.5, np.nan, np.inf, 0.1, 1e39]), "FP32", [1, 1, 1, 0, 0]),
        (np.array([0, 1, 2]), "BOOL", [1, 1, 0]),
        (np.array([True, False]), "FP16", [1, 1]),
        (np.array([1.0, 1.0 + 2**-7, 1.0 + 2**-8, np.nan], np.float32), "BF16", [1, 1, 0, 1]),
        (np.array([[1, 300], [2, 3]]), "UINT8", [0, 1]),
    ],
)
def test_without_loss_or_not_at_all(values: Array, target: str, kept: list[int]) -> None:
    converted, found = convert(values, target, rounding=False)
    assert found.tolist() == [bool(one) for one in kept]
    numbers = widened(converted) if target == "BF16" else converted
    np.testing.assert_array_equal(numbers[found].astype(values.dtype), values[found])


@pytest.mark.parametrize(
    ("values", "target", "kept"),
    [
        (np.array([1.7, -0.5, 255.9, 256.0, -1.0, np.nan]), "UINT8", [1, 1, 1, 0, 0, 0]),
        (np.array([0.1, 1e39, np.inf, np.nan]), "FP32", [1, 0, 1, 1]),
        (np.array([3e38, 3.4e38], np.float32), "BF16", [1, 0]),
        (np.array([2**64 - 1], np.uint64), "INT64", [0]),
    ],
)
def test_rounding_keeps_to_the_range(values: Array, target: str, kept: list[int]) -> None:
    assert convert(values, target, rounding=True)[1].tolist() == [bool(one) for one in kept]


def test_bfloat16_is_the_nearest_even_on_ties() -> None:
    values = np.array([1.0 + 2**-8, 1.0 + 3 * 2**-8, -1.0], np.float32)
    bits, _ = convert(values, "BF16", rounding=True)
    assert widened(bits).tolist() == [1.0, 1.0 + 2**-6, -1.0]


def test_which_datatypes_go_into_which() -> None:
    assert not refusal("FP16", "FP32", rounding=False)
    assert not refusal("BF16", "FP32", rounding=False)
    assert refusal("FP16", "BF16", rounding=False)
    assert not refusal("INT64", "FP16", rounding=False)
    assert refusal("BYTES", "BOOL", rounding=True)


def test_a_batch_without_failures_keeps_all_rows() -> None:
    dataset = csv()
    binding = bind(dataset, signature(("a", "INT32", (-1,))))
    batch = binding.inputs(whole_batch(5, 7, {"a": np.array([1, 2])}))
    assert batch.rows.tolist() == [5, 6]
    assert batch.columns["a"].dtype == np.int32
