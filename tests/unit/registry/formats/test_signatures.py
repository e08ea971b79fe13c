from __future__ import annotations

import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.rpc.convert.types import signature_to_pb
from modelyard_registry.formats.signatures import MAX_DIMENSION, MAX_RANK, check_signature

X = TensorSpec("x", "FP32", (-1, 4))


@pytest.mark.parametrize(
    "tensor", [X, TensorSpec("ä b/c:0", "BYTES", ()), TensorSpec("x", "BOOL", (0, -1, MAX_DIMENSION) + (1,) * 61)]
)
def test_what_is_accepted_can_be_sent(tensor: TensorSpec) -> None:
    signature = Signature((tensor,), (tensor,))
    assert check_signature("m", signature) is signature
    assert signature_to_pb(signature).inputs[0].shape == list(tensor.shape)
    check_signature("m", Signature())


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (TensorSpec("", "FP32", ()), "output '': expected a name, without control characters"),
        *(
            (TensorSpec(f"a{c}b", "FP32", ()), f"output {f'a{c}b'!r}: expected a name, without control characters")
            for c in "\0\n\x1b\x7f\x9b\u202a\u202e\u2066\u2069\ud800\udfff"
        ),
        (TensorSpec("y", "float", ()), "output 'y': expected a datatype of BOOL, INT8, "),
        (TensorSpec("y", "FP32", (1,) * (MAX_RANK + 1)), "output 'y': expected at most 64 dimensions, got 65"),
        (TensorSpec("y", "FP32", (3, -2)), "output 'y': expected dimensions of 0 to 9223372036854775807, or -1 "),
        (TensorSpec("y", "FP32", (1 << 63,)), "for any, got 9223372036854775808"),
        (TensorSpec("y", "FP32", (1 << 20_000,)), "for any, got a number of 20001 bits"),
    ],
)
def test_what_is_refused(tensor: TensorSpec, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_signature("m.onnx", Signature((X,), (X, tensor)))
    assert caught.value.message.startswith("m.onnx: output ")
    assert said in caught.value.message


def test_names_twice() -> None:
    check_signature("m", Signature((X,), (X,)))
    with pytest.raises(InvalidInputError, match="m: expected distinct names of inputs, got x, x"):
        check_signature("m", Signature((X, X), (X,)))
