"""Use our SDK beside tritonclient in one process: `python beside.py FIRST_TO_BE_IMPORTED`."""

from __future__ import annotations

import importlib
import sys

import numpy as np

MODULES = {"modelyard": "modelyard.client", "tritonclient": "tritonclient.grpc"}


def main(first: str) -> None:
    """Import both; build a request with each, and read each with the other's messages."""
    for name in sorted(MODULES, key=lambda name: name != first):
        importlib.import_module(MODULES[name])

    import tritonclient.grpc as triton  # noqa: PLC0415
    from tritonclient.grpc import service_pb2  # noqa: PLC0415

    import modelyard  # noqa: PLC0415
    from modelyard.oip import messages, tensors  # noqa: PLC0415

    modelyard.Client("127.0.0.1:1").close()
    numbers, words = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([b"a", b"", b"\x00\xff"], object)
    ours = tensors.encode_request("m", "2", {"x": numbers, "s": words})

    read = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())
    assert read.model_name == "m"
    assert [t.datatype for t in read.inputs] == ["FP32", "BYTES"]

    inputs = [triton.InferInput("x", numbers.shape, "FP32"), triton.InferInput("s", words.shape, "BYTES")]
    inputs[0].set_data_from_numpy(numbers)
    inputs[1].set_data_from_numpy(words)
    theirs = service_pb2.ModelInferRequest(model_name="m", model_version="2")
    for tensor in inputs:
        theirs.inputs.append(tensor._get_tensor())
        theirs.raw_input_contents.append(tensor._get_content())
    assert theirs.SerializeToString(deterministic=True) == ours.SerializeToString(deterministic=True)

    back = tensors.decode_inputs(messages.ModelInferRequest.FromString(theirs.SerializeToString()))
    assert np.array_equal(back["x"][1], numbers)
    assert np.array_equal(back["s"][1], words)
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1])
