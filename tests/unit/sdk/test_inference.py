from __future__ import annotations

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.catalogue import TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.results import InferResult


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([[True], [False]]),
        np.array(7, np.int64),
        np.zeros((0, 4), np.float16),
        np.arange(6, dtype=">f8"),
        np.arange(12, dtype=np.uint8).reshape(3, 4).T,
    ],
)
async def test_arrays_come_back_as_they_went(client: Client, array: np.ndarray) -> None:
    answer = (await client.infer("digits", {"x": array}))["x"]
    np.testing.assert_array_equal(answer, array)
    assert answer.shape == array.shape


async def test_text_goes_as_bytes(client: Client) -> None:
    answer = await client.infer("digits", {"x": ["a", "bé"], "y": np.array([b"\0", "c"], object)})
    assert answer["x"].tolist() == [b"a", "bé".encode()]
    assert answer["y"].tolist() == [b"\0", b"c"]


async def test_the_answer_says_who_gave_it(client: Client) -> None:
    result = await client.infer_result("digits@prod", {"x": np.zeros(1)})
    assert isinstance(result, InferResult)
    assert (result.model, result.version, result.worker) == ("digits", "prod", "worker-0")


async def test_types_that_the_protocol_lacks_are_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="complex128"):
        await client.infer("digits", {"x": np.zeros(1, complex)})


async def test_health_and_metadata(client: Client) -> None:
    assert await client.live()
    assert await client.ready()
    assert await client.model_ready("digits")
    assert not await client.model_ready("other")
    assert (await client.server_metadata()).extensions == ("model_repository",)
    metadata = await client.metadata("digits")
    assert metadata.platform == "onnxruntime_onnx"
    assert metadata.signature.inputs == (TensorSpec("x", "FP32", (-1, 2)),)
