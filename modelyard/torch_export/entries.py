"""The entries of a torch.export archive: which may be there, and whether the weights are whole."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from modelyard.errors import InvalidInputError
from modelyard.torch_export.archive import TorchArchive
from modelyard.torch_export.tensors_only import MAX_BYTES, check_tensors_only

T = TypeVar("T")

PROGRAM = "models/model.json"
CONVERSION = (
    "convert it: export the model anew with plain tensors as parameters, tuples, lists and dicts of them as inputs "
    "and outputs, and with operators of torch itself"
)
"""How to get an archive that loads without running code of its author."""

MAX_PROGRAM_BYTES = 64 << 20

_WEIGHTS = "data/weights"
_CONSTANTS = "data/constants"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_MAX_CONFIG_BYTES = 32 << 20

_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment"
    r"|models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt|extra/.+"
)
_TORCH_SAVE = re.compile(r"data\.pkl|data/\d+|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment")
_UNSAFE = {
    "data/constants/custom_obj_": "a pickled object of a class of its own",
    "data/constants/opaque_obj_": "a pickled object of a class of its own",
    "data/aotinductor/": "compiled code",
    "data/executorch/": "a program for ExecuTorch",
}
_OLDER = ("serialized_exported_program.json", "data/weights/model.pt", "data/weights/model_model_param_config.json")
"""Entries by which the layouts of older releases are known."""

_ITEM_BYTES = {
    **dict.fromkeys((1, 2, 12, 29, 30, 31, 32, 33), 1),
    **dict.fromkeys((3, 6, 13, 28), 2),
    **dict.fromkeys((4, 7, 9, 34), 4),
    **dict.fromkeys((5, 8, 10, 35), 8),
    11: 16,
}
"""The size of an element of each of torch's serialized ScalarTypes."""


class Size(msgspec.Struct):
    """A dimension: a number, or an expression over symbols."""

    as_int: int | None = None
    as_expr: dict[str, Any] | None = None


class TensorMeta(msgspec.Struct):
    """What is known of a tensor."""

    dtype: int
    sizes: list[Size]
    strides: list[Size]
    storage_offset: Size
    layout: int


class _Payload(msgspec.Struct):
    path_name: str
    use_pickle: bool
    tensor_meta: TensorMeta | None = None


class _Payloads(msgspec.Struct):
    config: dict[str, _Payload]


def read_json(archive: TorchArchive, path: str, max_bytes: int) -> Any:
    """Return an entry's JSON; raise InvalidInputError if it is none, missing or larger than that."""
    try:
        return json.loads(archive.read(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{archive.name}: {path}: expected JSON: {str(error)[:200]}") from None


def convert(archive: TorchArchive, path: str, document: Any, kind: type[T]) -> T:
    """Return an entry's document as a value; raise InvalidInputError, which says where, if it has another form."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"{archive.name}: {path}: {str(error)[:300]}") from None


def check_layout(archive: TorchArchive) -> None:
    """Raise InvalidInputError unless the archive is laid out as torch 2.13 does it."""
    for entry in _OLDER:
        if archive.size(entry) is not None:
            raise InvalidInputError(
                f"{archive.name}: expected the layout that torch 2.13 writes, got that of an older release ({entry}): "
                "load it with a release that reads it, and export and save the model again with torch 2.13"
            )
    if archive.size("archive_format") is None or archive.read("archive_format", 64) != b"pt2":
        raise InvalidInputError(f"{archive.name}: expected a file of torch.export.save, got another zip file")
    models = [path for path in archive.paths if path.startswith("models/")]
    if models != [PROGRAM]:
        found = ", ".join(models[:5]) or "none"
        raise InvalidInputError(f"{archive.name}: expected one program, {PROGRAM}; got {found[:200]}")
    if archive.size("byteorder") is not None and archive.read("byteorder", 64) != b"little":
        raise InvalidInputError(f"{archive.name}: expected little-endian weights")


def check_entries(archive: TorchArchive) -> None:
    """Raise InvalidInputError if an entry is compiled code, or a pickle of anything but tensors, or unknown."""
    for path in archive.paths:
        for prefix, kind in _UNSAFE.items():
            if path.startswith(prefix):
                raise InvalidInputError(f"{archive.name}: {path[:80]}: expected weights and a program, got {kind}")
        if not _KNOWN.fullmatch(path):
            raise InvalidInputError(f"{archive.name}: expected the entries of torch.export.save, got {path[:80]!r}")
    if archive.size(_SAMPLE_INPUTS) != 0:
        _check_sample_inputs(archive)


def _check_sample_inputs(archive: TorchArchive) -> None:
    """torch.export.save always writes the example inputs with torch.save, and loading the archive unpickles them."""
    name = f"{archive.name}: {_SAMPLE_INPUTS}"
    if archive.size(_SAMPLE_INPUTS) is None:
        raise InvalidInputError(f"{name}: expected an entry of that name, which is missing")
    with archive.open(_SAMPLE_INPUTS) as file, TorchArchive(name, file) as inner:
        for path in inner.paths:
            if not _TORCH_SAVE.fullmatch(path):
                raise InvalidInputError(f"{name}: expected the entries of torch.save, got {path[:80]!r}")
        check_tensors_only(name, inner.read("data.pkl", MAX_BYTES))


def check_payloads(archive: TorchArchive, names: set[str], *, allow_pickle: bool) -> None:
    """Check that each parameter, buffer and constant named is there, with all its bytes.

    Raises:
        InvalidInputError: one is missing, cut off, or a pickle while none is allowed.
    """
    found: set[str] = set()
    for directory, kind in ((_WEIGHTS, "weights"), (_CONSTANTS, "constants")):
        path = f"{directory}/model_{kind}_config.json"
        payloads = convert(archive, path, read_json(archive, path, _MAX_CONFIG_BYTES), _Payloads).config
        for name, payload in payloads.items():
            if payload.use_pickle and not allow_pickle:
                raise InvalidInputError(
                    f"{archive.name}: {name[:80]!r}: expected a plain tensor, got a pickle; {CONVERSION}"
                )
            _check_payload(archive, f"{directory}/{payload.path_name}", payload)
        found |= payloads.keys()
    for name in sorted(names - found):
        raise InvalidInputError(f"{archive.name}: expected a tensor for {name[:80]!r}, which is missing")


def _check_payload(archive: TorchArchive, path: str, payload: _Payload) -> None:
    size = archive.size(path)
    if size is None:
        raise InvalidInputError(f"{archive.name}: expected an entry {path[:80]!r}, which is missing")
    if payload.tensor_meta is not None and not payload.use_pickle:
        needed = _extent_bytes(archive, path, payload.tensor_meta)
        if size < needed:
            raise InvalidInputError(f"{archive.name}: {path[:80]}: expected {needed} bytes or more, got {size}")


def _extent_bytes(archive: TorchArchive, path: str, meta: TensorMeta) -> int:
    """The bytes from the beginning of a tensor's storage to the end of its last element."""
    sizes, strides = ([-1 if s.as_int is None else s.as_int for s in row] for row in (meta.sizes, meta.strides))
    offset = -1 if meta.storage_offset.as_int is None else meta.storage_offset.as_int
    if len(sizes) != len(strides) or min([*sizes, *strides, offset]) < 0 or meta.dtype not in _ITEM_BYTES:
        raise InvalidInputError(f"{archive.name}: {path[:80]}: expected whole sizes and strides and a known data type")
    if 0 in sizes:
        return 0
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    return (last + 1) * _ITEM_BYTES[meta.dtype]
