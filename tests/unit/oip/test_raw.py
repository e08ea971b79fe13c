from __future__ import annotations

import numpy as np
import pytest

from modelyard.errors import InternalError
from modelyard.oip import messages
from modelyard.oip.raw import raw_outputs, raw_request
from modelyard.oip.tensors import Array, decode_inputs, parse_request, to_raw

TEXT = np.array([b"a", b"", b"\xff" * 300], object)
ARRAYS: dict[str, tuple[str, Array]] = {
    "floats": ("FP32", np.arange(12, dtype=np.float32).reshape(3, 4)),
    "strided": ("INT64", np.arange(12, dtype=np.int64).reshape(6, 2)[::2]),
    "big": ("FP64", np.arange(3, dtype=">f8")),
    "bf16": ("BF16", np.arange(3, dtype=np.uint16)),
    "text": ("BYTES", TEXT),
    "flags": ("BOOL", np.array([True, False, True])),
    "nothing": ("FP32", np.zeros((3, 0), np.float32)),
}


def test_a_request_is_what_protobuf_would_have_written() -> None:
    request = parse_request(raw_request("digits", "7", ARRAYS))
    assert (request.model_name, request.model_version) == ("digits", "7")
    decoded = decode_inputs(request)
    assert {name: kind for name, (kind, _) in decoded.items()} == {name: kind for name, (kind, _) in ARRAYS.items()}
    for name, (_, array) in ARRAYS.items():
        assert decoded[name][1].tolist() == array.tolist(), name


def test_outputs_are_what_the_response_holds() -> None:
    response = messages.ModelInferResponse(model_name="digits", id="1")
    for name, (kind, array) in ARRAYS.items():
        response.outputs.add(name=name, datatype=kind, shape=array.shape)
        response.raw_output_contents.append(to_raw(array, kind))
    found = raw_outputs(response.SerializeToString())
    assert list(found) == list(ARRAYS)
    for name, (kind, array) in ARRAYS.items():
        assert found[name][0] == kind
        assert found[name][1].tolist() == array.tolist(), name


@pytest.mark.parametrize("response", [b"\xff\xff", b"\x2a\x03\x0a\x01y", b"\x32\x04abcd"])
def test_what_is_no_response_is_said(response: bytes) -> None:
    with pytest.raises(InternalError):
        raw_outputs(response)
