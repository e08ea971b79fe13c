from __future__ import annotations

import numpy as np
import pytest

from modelyard.catalogue import TensorSpec
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.preprocessing.decoding import Labels, Rescaling
from modelyard.preprocessing.options import LabelOptions, TargetOptions
from tests.unit.preprocessing.test_preprocessing import objects

THREE = Labels("logits", ("a", "b", "c"))
TWO = Labels("logits", ("neg", "pos"), "sigmoid")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_softmax(dtype: type[np.floating]) -> None:
    logits = np.array([[1, 2, 0], [1000, -1000, 0], [0, 0, 0]], dtype)
    found = THREE.decode(logits)
    assert found["label"].tolist() == ["b", "a", "a"]
    weights = np.exp([1.0, 2.0, 0.0])
    np.testing.assert_allclose(found["score"], [weights[1] / weights.sum(), 1, 1 / 3], rtol=1e-6)
    assert found["score"].dtype == np.float32


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_sigmoid(shape: tuple[int, ...]) -> None:
    logits = np.array([-3, 0, 2, 5000], np.float32)
    found = TWO.decode(logits.reshape(shape))
    assert found["label"].tolist() == ["neg", "pos", "pos", "pos"]
    np.testing.assert_allclose(found["score"], [1 / (1 + np.exp(-3)), 0.5, 1 / (1 + np.exp(-2)), 1], rtol=1e-6)


def test_no_rows() -> None:
    found = THREE.decode(np.zeros((0, 3), np.float32))
    assert (found["label"].shape, found["score"].shape) == ((0,), (0,))
    assert TWO.decode(np.zeros(0, np.float32))["label"].shape == (0,)


def test_logits_of_another_number_of_classes() -> None:
    with pytest.raises(ModelExecutionError, match=r"expected logits of 3 classes for softmax, got \[2, 4\]"):
        THREE.decode(np.zeros((2, 4), np.float32))
    with pytest.raises(InvalidInputError, match="expected 2 classes for sigmoid, got 3"):
        Labels("logits", ("a", "b", "c"), "sigmoid")


def test_the_signature() -> None:
    assert [str(t) for t in TWO.outer(TensorSpec("logits", "FP16", (5, 1)))] == ["label: BYTES [5]", "score: FP32 [5]"]
    with pytest.raises(InvalidInputError, match=r"FP16/FP32/FP64 \[-1\] or \[-1, 1\]; it has logits: FP32 \[-1, 2\]"):
        TWO.outer(TensorSpec("logits", "FP32", (-1, 2)))


def test_indices_are_of_names_and_name_the_row_that_has_none() -> None:
    numbers, _ = LabelOptions("y").fit({"y": np.array([10, 9, 2, 9])})
    assert numbers.names == ("2", "9", "10")
    np.testing.assert_array_equal(numbers.indices(np.array([9, 10, 2])), [1, 2, 0])
    np.testing.assert_array_equal(THREE.indices(objects([b"c", "a"])), [2, 0])
    with pytest.raises(InvalidInputError, match="row 31: column 'y': expected one of 'a', 'b', 'c'; got 'z'"):
        THREE.indices(objects([b"a", b"z"]), "y", [30, 31])


def test_labels_that_are_none() -> None:
    with pytest.raises(InvalidInputError, match="at least 2 classes, got 1"):
        LabelOptions("y").fit({"y": np.zeros(3, np.int64)})
    with pytest.raises(InvalidInputError, match="names or whole numbers as labels, got float64"):
        LabelOptions("y").fit({"y": np.zeros(3)})


@pytest.mark.parametrize("method", ["standard", "range"])
def test_a_target_comes_back_in_its_units(method: str) -> None:
    values = np.array([3.0, 7.0, 11.0])
    step, _ = TargetOptions("price", method=method).fit({"price": values})  # type: ignore[arg-type]
    scaled = step.scaled(values)
    assert abs(scaled).max() < 1.3
    np.testing.assert_allclose(step.decode(scaled)["price"], values, rtol=1e-6)
    assert str(step.outer(TensorSpec("y", "FP32", (-1,)))[0]) == "price: FP32 [-1]"


def test_scaling_constants_that_are_none() -> None:
    for offset, divisor in (((0.0,), (0.0,)), ((0.0, 1.0), (1.0,)), ((float("inf"),), (1.0,)), ((1e300,), (1.0,))):
        with pytest.raises(InvalidInputError, match="as many offsets as divisors, all finite, and no divisor of 0"):
            Rescaling("y", "z", offset, divisor)
