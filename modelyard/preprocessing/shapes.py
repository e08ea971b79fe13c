"""Whether a model's tensors are what preprocessing was fitted for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from modelyard.catalogue import TensorSpec
from modelyard.errors import InvalidInputError

FLOATS = frozenset({"FP16", "FP32", "FP64"})


def expect(inner: TensorSpec, datatypes: Collection[str], shapes: Sequence[tuple[int, ...]]) -> None:
    """Return if a tensor of a model is of one of some datatypes, and its rows of one of some shapes.

    Raises:
        InvalidInputError: it is of another, or has no rows.
    """
    if inner.shape and inner.datatype in datatypes and any(_fits(inner.shape[1:], shape) for shape in shapes):
        return
    wanted = " or ".join(str([-1, *shape]) for shape in shapes)
    kinds = "/".join(sorted(datatypes))
    raise InvalidInputError(f"preprocessing: expected a model with {inner.name!r} of {kinds} {wanted}; it has {inner}")


def _fits(got: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(got) == len(wanted) and all(-1 in pair or len(set(pair)) == 1 for pair in zip(got, wanted, strict=True))
