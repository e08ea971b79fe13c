"""Every datatype, raw and typed, at the front door and at a runner, against a run of ONNX Runtime in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from modelyard import Client
from modelyard.oip import messages
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import Array, from_raw, to_raw
from modelyard.rpc.channel import Stub, open_channel
from tests import models
from tests.suites import RunningSuite

TEXTS = [b"", "größer 你好 🙂".encode(), b"with\0null", b"x" * 70_000]
TYPED = [name for name, row in DATATYPES.items() if row.contents]
RAW_ONLY = [name for name, row in DATATYPES.items() if not row.contents]


def doubled(*datatypes: str) -> onnx.ModelProto:
    """Returns the rows of each input twice: fp32 FP32 [-1, 2] -> fp32_ FP32 [-1, 2], and so on."""
    names = {d.lower(): d for d in datatypes}
    nodes = [helper.make_node("Concat", [name, name], [f"{name}_"], axis=0) for name in names]
    inputs = [models.tensor(name, d, [-1, 2]) for name, d in names.items()]
    return models.build(nodes, inputs, [models.tensor(f"{name}_", d, [-1, 2]) for name, d in names.items()])


GROUPS = {
    "doubled-typed": [d for d in TYPED if d != "BYTES"],
    "doubled-raw-only": RAW_ONLY,
    "doubled-bytes": ["BYTES"],  # ONNX Runtime's Python side cannot return BF16 beside them
}


def model_of(datatype: str) -> str:
    return next(name for name, group in GROUPS.items() if datatype in group)


@pytest.fixture(scope="module")
def served(
    running_suite: RunningSuite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, str]]]:
    """The addresses of a front door and of runners, by model: there are models of every datatype."""
    directory = tmp_path_factory.mktemp("datatypes")
    with Client(running_suite.address, timeout_s=120) as client:
        for name, group in GROUPS.items():
            client.push(name, models.save(doubled(*group), directory / f"{name}.onnx"))
            client.deploy(name, timeout_s=120)
        yield {
            "front door": dict.fromkeys(GROUPS, running_suite.address),
            "runner": {name: client.deployment(name).instances[0].endpoint for name in GROUPS},
        }
        for name in GROUPS:
            client.undeploy(name)
            client.delete_model(name, purge=True)


@pytest.fixture(params=["front door", "runner"])
def infer(request: pytest.FixtureRequest, served: dict[str, dict[str, str]]) -> Any:
    async def call(asked: messages.ModelInferRequest) -> Any:
        async with open_channel(served[request.param][asked.model_name]) as channel:
            return await Stub(channel, messages.SERVICE).ModelInfer(asked)

    return call


def values(datatype: str) -> Array:
    if datatype == "BYTES":
        array = np.empty(4, object)
        array[:] = TEXTS
        return array.reshape(2, 2)
    if datatype == "BF16":
        return np.array([[0x3F80, 0xC020], [0x7F80, 0x0001]], np.uint16)
    if datatype == "BOOL":
        return np.array([[True, False], [False, False]])
    dtype: Any = DATATYPES[datatype].dtype
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[limits.min, limits.max], [0, 1]], dtype)


def local(datatype: str, array: Array) -> bytes:
    """The raw contents that a run in this process gives."""
    if datatype == "BF16":  # Python's side of ONNX Runtime has no arrays of it
        return to_raw(np.concatenate([array, array]), "BF16")
    session = ort.InferenceSession(doubled(datatype).SerializeToString(), providers=["CPUExecutionProvider"])
    fed = np.vectorize(bytes.decode, otypes=[object])(array) if datatype == "BYTES" else array
    return to_raw(session.run(None, {datatype.lower(): fed})[0], datatype)


def request(datatype: str, shape: tuple[int, ...]) -> messages.ModelInferRequest:
    """The input of that datatype, still without contents, and the other inputs of its model without rows."""
    model = model_of(datatype)
    found = messages.ModelInferRequest(model_name=model, id="r-1")
    for other in sorted(GROUPS[model], key=lambda d: d != datatype):
        found.inputs.add(name=other.lower(), datatype=other, shape=shape if other == datatype else (0, 2))
    found.outputs.add(name=f"{datatype.lower()}_")
    return found


def raw_request(datatype: str, array: Array) -> messages.ModelInferRequest:
    found = request(datatype, array.shape)
    found.raw_input_contents.extend([to_raw(array, datatype), *[b""] * (len(found.inputs) - 1)])
    return found


def check(answer: messages.ModelInferResponse, datatype: str, array: Array) -> None:
    (output,) = answer.outputs
    assert (output.name, output.datatype) == (f"{datatype.lower()}_", datatype)
    assert tuple(output.shape) == (2 * len(array), 2)
    assert answer.raw_output_contents == [local(datatype, array)]
    assert (answer.model_name, answer.model_version, answer.id) == (model_of(datatype), "1", "r-1")
    assert answer.parameters["worker"].string_param.startswith("worker-")


@pytest.mark.parametrize("datatype", DATATYPES)
async def test_raw_contents(datatype: str, infer: Any) -> None:
    array = values(datatype)
    check(await infer(raw_request(datatype, array)), datatype, array)


@pytest.mark.parametrize("datatype", TYPED)
async def test_typed_contents(datatype: str, infer: Any) -> None:
    array = values(datatype)
    asked = request(datatype, array.shape)
    field = DATATYPES[datatype].contents
    assert field is not None
    getattr(asked.inputs[0].contents, field).extend(array.reshape(-1).tolist())
    check(await infer(asked), datatype, array)


@pytest.mark.parametrize("datatype", RAW_ONLY)
async def test_what_has_no_typed_contents_says_so(datatype: str, infer: Any) -> None:
    asked = request(datatype, (1, 2))
    asked.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    expected = f"input '{datatype.lower()}': {datatype} has no typed contents; expected raw_input_contents"
    assert expected in str(caught.value.details())


@pytest.mark.parametrize("datatype", DATATYPES)
async def test_no_rows_at_all(datatype: str, infer: Any) -> None:
    answer = await infer(raw_request(datatype, values(datatype)[:0]))
    assert (list(answer.outputs[0].shape), list(answer.raw_output_contents)) == ([0, 2], [b""])


async def test_a_large_tensor(infer: Any) -> None:
    array = np.random.default_rng(0).standard_normal((2_000_000, 2)).astype(np.float32)
    answer = await infer(raw_request("FP32", array))
    found = from_raw("y", "FP32", [4_000_000, 2], answer.raw_output_contents[0])
    assert np.array_equal(found, np.concatenate([array, array]))


async def test_text_that_is_not_utf8_is_refused(infer: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(raw_request("BYTES", np.array([[b"ok", b"\xff"]], object)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected UTF-8 in BYTES, got b'\\xff'" in str(caught.value.details())


def test_the_sdk_gives_what_went_in(served: dict[str, dict[str, str]]) -> None:
    group = GROUPS["doubled-typed"]
    with Client(served["front door"]["doubled-typed"]) as client:
        found = client.infer("doubled-typed", {d.lower(): values(d) for d in group})
        assert {d: to_raw(found[f"{d.lower()}_"], d) for d in group} == {d: local(d, values(d)) for d in group}
        text = client.infer("doubled-bytes", {"bytes": values("BYTES")})["bytes_"]
        assert to_raw(text, "BYTES") == local("BYTES", values("BYTES"))
        half = client.infer("doubled-raw-only", {"fp16": values("FP16"), "bf16": _bfloat16([[1.0, -2.5]])})
        assert half["bf16_"].tolist() == [[1.0, -2.5]] * 2
        assert to_raw(half["fp16_"], "FP16") == local("FP16", values("FP16"))


def _bfloat16(rows: list[list[float]]) -> Array:
    return np.array(rows, ml_dtypes.bfloat16)
