"""What a torch.export archive (.pt2) says of itself: is it whole and free of code, and what does it take and return.

Read without torch and without running anything of it: the archive is a zip whose program is JSON. Names:

- An input has the name that torch gives it: that of the argument of forward, followed by the keys or indexes inside it
  (`x`; `d_p` for d["p"]; `t_0` for t[0]). What was a constant at export (a number, None) is no input.
- An output has the keys and indexes that lead to it in what forward returns, joined by `_`, after `output` where they
  begin with an index: `output` for a lone tensor, `output_0` for the first of a tuple, `logits` for a dict's value of
  that key, `aux_0` for the first of a tuple that is the value of `aux`. (torch's own names are those of operators, such
  as `add_1`: they change with the model's code and say nothing.) What is no tensor is no output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.torch_export.archive import TorchArchive
from modelyard.torch_export.entries import (
    CONVERSION,
    MAX_PROGRAM_BYTES,
    PROGRAM,
    TensorMeta,
    check_entries,
    check_layout,
    check_payloads,
    convert,
    read_json,
)
from modelyard.torch_export.program import check_program

SCHEMA_MAJOR = 8
"""The version of torch.export's schema that is understood; torch 2.13 writes 8.20."""

MAX_DEPTH = 32

_STRIDED = 7
_DATATYPES = {
    1: "UINT8",
    2: "INT8",
    3: "INT16",
    4: "INT32",
    5: "INT64",
    6: "FP16",
    7: "FP32",
    8: "FP64",
    12: "BOOL",
    13: "BF16",
    28: "UINT16",
    34: "UINT32",
    35: "UINT64",
}
"""The OIP datatype of torch's serialized ScalarTypes."""

_STATE = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
_SIDE_EFFECTS = {"buffer_mutation", "parameter_mutation", "user_input_mutation", "token"}

_Spec = dict[str, dict[str, Any]]
"""Of one key, which says what kind of input or output it is."""


class _Specs(msgspec.Struct):
    input_specs: list[_Spec]
    output_specs: list[_Spec]


class _Graph(msgspec.Struct):
    tensor_values: dict[str, TensorMeta]


class _CallSignature(msgspec.Struct):
    out_spec: str


class _Call(msgspec.Struct):
    fqn: str
    signature: _CallSignature | None = None


class _GraphModule(msgspec.Struct):
    graph: _Graph
    signature: _Specs
    module_call_graph: list[_Call]


class _SchemaVersion(msgspec.Struct):
    major: int
    minor: int


class _Schema(msgspec.Struct):
    schema_version: _SchemaVersion
    torch_version: str = "of unknown release"


class _Program(msgspec.Struct):
    graph_module: _GraphModule


def read_signature(path: Path, *, allow_unsafe: bool = False) -> Signature:
    """Check an archive and return its signature, whose names are as the program has them.

    Args:
        path: of the .pt2 file.
        allow_unsafe: accept pickles, compiled code and operators and classes that need custom code.

    Raises:
        InvalidInputError: not an archive of torch.export.save, of a layout or schema that is not known, not whole, with
            code in it while none is allowed, or with an input or output that is no tensor of an OIP datatype.
    """
    with path.open("rb") as file, TorchArchive(path.name, file) as archive:
        check_layout(archive)
        document = read_json(archive, PROGRAM, MAX_PROGRAM_BYTES)
        _check_schema(archive, document)
        if not allow_unsafe:
            _refuse_code(archive, document)
        module = convert(archive, PROGRAM, document, _Program).graph_module
        check_payloads(archive, _state_names(module.signature), allow_pickle=allow_unsafe)
    return Signature(tuple(_inputs(path.name, module)), tuple(_outputs(path.name, module)))


def _refuse_code(archive: TorchArchive, document: Any) -> None:
    try:
        check_entries(archive)
        check_program(archive.name, document)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error.message}; {CONVERSION}") from None


def _check_schema(archive: TorchArchive, document: Any) -> None:
    schema = convert(archive, PROGRAM, document, _Schema)
    if schema.schema_version.major != SCHEMA_MAJOR:
        raise InvalidInputError(
            f"{archive.name}: expected schema {SCHEMA_MAJOR} of torch.export, got {schema.schema_version.major}, "
            f"written by torch {schema.torch_version[:40]}: export and save the model with torch 2.13"
        )


def _state_names(specs: _Specs) -> set[str]:
    """The names of the parameters, buffers and constants that the program takes."""
    return {str(spec[kind].get(key)) for spec in specs.input_specs for kind, key in _STATE.items() if kind in spec}


def _inputs(name: str, module: _GraphModule) -> Iterator[TensorSpec]:
    for spec in module.signature.input_specs:
        for kind, value in spec.items():
            if kind == "user_input":
                tensor = _tensor_name(value)
                if tensor is None:
                    raise InvalidInputError(
                        f"{name}: expected tensors as inputs, got {str(value.get('arg'))[:100]}: take a tensor instead"
                    )
                yield _tensor(name, module, tensor, tensor)


def _outputs(name: str, module: _GraphModule) -> Iterator[TensorSpec]:
    found = [(kind, value) for spec in module.signature.output_specs for kind, value in spec.items()]
    for kind, _ in found:
        if kind not in _SIDE_EFFECTS | {"user_output"}:
            raise InvalidInputError(f"{name}: expected a program for inference, got one with {kind[:40]}")
    values = [value for kind, value in found if kind == "user_output"]
    paths = output_names(name, _out_spec(name, module))
    if len(paths) != len(values):
        raise InvalidInputError(f"{name}: expected {len(paths)} outputs, as the module returns them; got {len(values)}")
    tensors = [(p, t) for p, t in zip(paths, map(_tensor_name, values), strict=True) if t is not None]
    if len({p for p, _ in tensors}) != len(tensors):
        raise InvalidInputError(
            f"{name}: expected keys that give distinct names to outputs, got {', '.join(paths)[:200]}"
        )
    for path, tensor in tensors:
        yield _tensor(name, module, path, tensor)


def _tensor_name(value: dict[str, Any]) -> str | None:
    """The name of the tensor that a user's input or output is; None for any other value."""
    argument = value.get("arg")
    tensor = argument.get("as_tensor") if isinstance(argument, dict) else None
    return str(tensor.get("name")) if isinstance(tensor, dict) else None


def _tensor(name: str, module: _GraphModule, public: str, tensor: str) -> TensorSpec:
    meta = module.graph.tensor_values.get(tensor)
    if meta is None:
        raise InvalidInputError(f"{name}: {tensor[:80]!r}: expected a tensor of the graph, got none of that name")
    if meta.layout != _STRIDED:
        raise InvalidInputError(f"{name}: {public[:80]!r}: expected a dense tensor, got one of layout {meta.layout}")
    datatype = _DATATYPES.get(meta.dtype)
    if datatype is None:
        raise InvalidInputError(f"{name}: {public[:80]!r}: torch's type {meta.dtype} has no OIP datatype")
    return TensorSpec(public, datatype, tuple(-1 if s.as_int is None else s.as_int for s in meta.sizes))


def _out_spec(name: str, module: _GraphModule) -> Any:
    """How the outputs are nested: {"type", "context", "children_spec"}."""
    text = next((c.signature.out_spec for c in module.module_call_graph if c.fqn == "" and c.signature), "")
    try:
        _, spec = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise InvalidInputError(f"{name}: expected out_spec as torch 2.13 writes it, got {text[:80]!r}") from None
    return spec


def output_names(name: str, spec: Any) -> list[str]:
    """Return a name for each leaf of a nested output; `name` is the file's, for messages."""
    try:
        return ["_".join(path if path and isinstance(path[0], _Key) else ("output", *path)) for path in _leaves(spec)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidInputError(f"{name}: expected out_spec as torch 2.13 writes it, got {str(spec)[:80]}") from None


class _Key(str):
    """A step of a path that is a key and not an index."""

    __slots__ = ()


def _leaves(spec: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if len(path) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if spec["type"] is None:
        yield path
        return
    keys = json.loads(spec["context"] or "null")
    children = spec["children_spec"]
    keyed = isinstance(keys, list) and len(keys) == len(children)
    for index, child in enumerate(children):
        step = _Key(keys[index]) if keyed else str(index)
        yield from _leaves(child, (*path, step))
