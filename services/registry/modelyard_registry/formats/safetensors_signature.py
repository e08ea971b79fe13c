"""What a safetensors artifact says of itself: are its weights whole, and what does its recipe declare it to compute.

Weights alone have no inputs and outputs. So the artifact is a directory with one or more .safetensors files and, at its
top, a recipe.json that declares the signature:

    {"signature": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}], "outputs": [...]}}

Of weights of which nobody can say that it declares none: no inputs and no outputs. Such a version is not served.

Whatever else builds the model from the weights is custom code: fields beside the signature, and files that are code.

Layout of a .safetensors file: the header's length (8 bytes, little-endian), the header (JSON: of each tensor its dtype,
shape and data_offsets, counted from the header's end), then the data, without holes (huggingface/safetensors, Format).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from modelyard.catalogue import Signature, TensorSpec
from modelyard.chunks import RECIPE
from modelyard.errors import InvalidInputError
from modelyard.pickled import CONVERSION
from modelyard_registry.formats.code_files import refuse_code
from modelyard_registry.formats.known import MAX_HEADER_BYTES, MAX_RECIPE_BYTES
from modelyard_registry.formats.signatures import MAX_RANK, check_signature

_EXPECTED_RECIPE = (
    '{"signature": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}], '
    '"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}]}}'
)
_ITEM_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}

T = TypeVar("T")
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[list[_Count], msgspec.Meta(max_length=MAX_RANK)]
    data_offsets: tuple[_Count, _Count]


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: _Text
    datatype: str
    shape: list[int]


class _Declared(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    outputs: list[_Tensor]


class _Recipe(msgspec.Struct):
    signature: _Declared


def read_signature(directory: Path, *, allow_unsafe: bool = False) -> Signature:
    """Check the safetensors artifact in a directory and return the signature that its recipe declares.

    Of the weights the headers are read; of the data only its length is looked at.

    Args:
        directory: the artifact.
        allow_unsafe: accept files that are code, and a recipe that has more than the signature.

    Raises:
        InvalidInputError: no .safetensors file or one that is not whole, no recipe.json or one without a signature, or
            custom code while none is allowed.
    """
    if not allow_unsafe:
        refuse_code(directory)
    files = sorted(directory.rglob("*.safetensors"))
    if not files:
        found = ", ".join(sorted(p.name for p in directory.rglob("*"))[:5]) or "none"
        raise InvalidInputError(f"format safetensors: expected one .safetensors file or more, got {found}")
    for path in files:
        check_weights(path)
    return read_recipe(directory / RECIPE, allow_unsafe=allow_unsafe)


def read_recipe(path: Path, *, allow_unsafe: bool = False) -> Signature:
    """Return the signature that a recipe.json declares.

    Raises:
        InvalidInputError: it is missing or malformed, or has more than a signature unless `allow_unsafe`.
    """
    if not path.is_file():
        raise InvalidInputError(
            f"{RECIPE}: expected it beside the weights, to declare what they compute: {_EXPECTED_RECIPE}; it is missing"
        )
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise InvalidInputError(f"{RECIPE}: expected at most {MAX_RECIPE_BYTES} bytes, got {path.stat().st_size}")
    data = path.read_bytes()
    declared = _decode(RECIPE, data, _Recipe, f"; expected {_EXPECTED_RECIPE}").signature
    if bool(declared.inputs) != bool(declared.outputs):
        there, missing = ("inputs", "outputs") if declared.inputs else ("outputs", "inputs")
        raise InvalidInputError(f"{RECIPE}: expected inputs and outputs, or neither; got {there} and no {missing}")
    if not allow_unsafe:
        _refuse_more(data)
    return check_signature(RECIPE, Signature(_specs(declared.inputs), _specs(declared.outputs)))


def _refuse_more(recipe: bytes) -> None:
    more = sorted(_decode(RECIPE, recipe, dict[str, Any], "").keys() - {"signature"})
    if more:
        shown = ", ".join(repr(field[:64]) for field in more[:5])
        raise InvalidInputError(
            f"{RECIPE}: expected a signature alone, got {shown} too, which only custom code reads; leave it out, or "
            f"{CONVERSION}"
        )


def _specs(tensors: list[_Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in tensors)


def check_weights(path: Path) -> None:
    """Raise InvalidInputError unless a file is whole: a sound header, and its tensors side by side up to the end."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - 8):
            raise InvalidInputError(
                f"{path.name}: expected a safetensors file with a header of 2 to {MAX_HEADER_BYTES} bytes; "
                f"got {size_bytes} bytes that begin with a header length of {length}"
            )
        header = _decode(path.name, file.read(length), dict[str, Any], " in the header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidInputError(f"{path.name}: __metadata__: expected texts by name, got something else")
    entries = {name: _entry(path.name, name, value) for name, value in header.items()}
    _check_offsets(path.name, entries, size_bytes - 8 - length)


def _entry(file: str, name: str, value: Any) -> _Entry:
    try:
        entry = msgspec.convert(value, _Entry)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"{file}: {name[:80]!r}: {str(error)[:200]}") from None
    bits = _ITEM_BITS.get(entry.dtype)
    if bits is None:
        raise InvalidInputError(f"{file}: {name[:80]!r}: expected a dtype of safetensors, got {entry.dtype[:64]!r}")
    begin, end = entry.data_offsets
    if math.prod(entry.shape) * bits != (end - begin) * 8:
        raise InvalidInputError(
            f"{file}: {name[:80]!r}: expected {math.prod(entry.shape) * bits} bits for {entry.dtype} {entry.shape}, "
            f"got data_offsets of {end - begin} bytes"
        )
    return entry


def _check_offsets(file: str, entries: dict[str, _Entry], data_bytes: int) -> None:
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        if begin != reached:
            raise InvalidInputError(f"{file}: {name[:80]!r}: expected its data to begin at {reached}, got {begin}")
        reached = end
    if reached != data_bytes:
        raise InvalidInputError(f"{file}: expected {reached} bytes of data after the header, got {data_bytes}")


def _decode(name: str, data: bytes, kind: type[T], hint: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"{name}: {str(error)[:200]}{hint}") from None
