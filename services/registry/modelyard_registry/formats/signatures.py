"""What a signature may be: what the API's messages carry, and what a caller can name."""

from __future__ import annotations

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES
from modelyard_registry.characters import misleads

MAX_RANK = 64
MAX_DIMENSION = (1 << 63) - 1
_SHOWN_CHARS = 80


def check_signature(source: str, signature: Signature) -> Signature:
    """Return the signature.

    Args:
        source: where it is from, as messages begin.
        signature: either side may be without tensors.

    Raises:
        InvalidInputError: two inputs, or outputs, have one name; or a tensor has an empty name or one with control
            characters, no datatype of the Open Inference Protocol, more than 64 dimensions, or one that is neither -1
            nor a number of 63 bits.
    """
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        names = [tensor.name for tensor in tensors]
        if len(set(names)) != len(names):
            shown = ", ".join(name[:_SHOWN_CHARS] for name in names)
            raise InvalidInputError(f"{source}: expected distinct names of {kind}s, got {shown[:200]}")
        for tensor in tensors:
            _check_tensor(f"{source}: {kind} {tensor.name[:_SHOWN_CHARS]!r}", tensor)
    return signature


def _check_tensor(place: str, tensor: TensorSpec) -> None:
    if not tensor.name or misleads(tensor.name):
        raise InvalidInputError(f"{place}: expected a name, without control characters")
    if tensor.datatype not in DATATYPES:
        raise InvalidInputError(
            f"{place}: expected a datatype of {', '.join(DATATYPES)}; got {tensor.datatype[:_SHOWN_CHARS]!r}"
        )
    if len(tensor.shape) > MAX_RANK:
        raise InvalidInputError(f"{place}: expected at most {MAX_RANK} dimensions, got {len(tensor.shape)}")
    for dimension in tensor.shape:
        if not -1 <= dimension <= MAX_DIMENSION:
            raise InvalidInputError(
                f"{place}: expected dimensions of 0 to {MAX_DIMENSION}, or -1 for any, got {_shown(dimension)}"
            )


def _shown(number: int) -> str:
    """As text; Python refuses to write out numbers of thousands of digits."""
    return str(number) if number.bit_length() <= 256 else f"a number of {number.bit_length()} bits"
