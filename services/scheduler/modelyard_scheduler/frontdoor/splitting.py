"""A request of more rows than a batch may have, split over the replicas, and their answers put together in order.

Rows are the first dimension of every input and output. What cannot be split at sight is not split: the runner that
gets it whole executes it, or says what is wrong with it. No I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import ModelExecutionError
from modelyard.oip import messages
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import parse_request
from modelyard.oip.wire import without_tensors

PARTS_A_REPLICA = 4
"""At most so many; of still more rows each part has more than a batch."""


def least_bytes(signature: Signature, rows: int) -> int | None:
    """How long a serialized request of more than so many rows is at least; None if such a one cannot be split.

    It can if the first dimension of every input and output is dynamic, and no other one of an output: those that
    depend on the rows, as that of the longest, would differ from part to part.
    """
    tensors = (*signature.inputs, *signature.outputs)
    if not signature.inputs or not all(t.shape and t.shape[0] < 0 for t in tensors):
        return None
    if any(dim < 0 for t in signature.outputs for dim in t.shape[1:]):
        return None
    return rows * sum(map(_least_row_bytes, signature.inputs))


def _least_row_bytes(spec: TensorSpec) -> int:
    """One an element, of which a dynamic dimension has one at least: a number in typed contents may be of one byte."""
    if spec.datatype not in DATATYPES:
        return 0
    return math.prod(dim if dim >= 0 else 1 for dim in spec.shape[1:])


def part_sizes(rows: int, max_batch_size: int, replicas: int) -> list[int]:
    """How many rows each part has: about as many as the others, in as few parts as fit into batches."""
    parts = min(-(-rows // max_batch_size), PARTS_A_REPLICA * replicas)
    return [rows // parts + (index < rows % parts) for index in range(parts)]


def split(request: bytes, max_batch_size: int, replicas: int) -> list[tuple[int, bytes]]:
    """Return the rows and the serialized request of each part, in order; nothing if it is not to be split.

    Raises:
        InvalidInputError: the bytes are no request.
    """
    rows = _rows(parse_request(without_tensors(request)))
    if rows <= max_batch_size:
        return []
    read = parse_request(request)
    if not all(map(_can_be_cut, _contents(read), read.inputs)):
        return []
    sizes = part_sizes(rows, max_batch_size, replicas)
    bounds = pairwise(accumulate(sizes, initial=0))
    return [(end - begin, _part(read, rows, begin, end).SerializeToString()) for begin, end in bounds]


def _rows(read: messages.ModelInferRequest) -> int:
    """How many rows all inputs have; 0 if not all have the same number."""
    counts = {tensor.shape[0] if tensor.shape else 0 for tensor in read.inputs}
    return counts.pop() if len(counts) == 1 else 0


def _contents(read: messages.ModelInferRequest) -> Sequence[bytes | None]:
    """The raw contents of each input; None where they are typed. Nothing fits to an input that lacks its own."""
    if not read.raw_input_contents:
        return [None] * len(read.inputs)
    return [*read.raw_input_contents, *[b""] * (len(read.inputs) - len(read.raw_input_contents))]


def _can_be_cut(raw: bytes | None, tensor: messages.ModelInferRequest.InferInputTensor) -> bool:
    row = DATATYPES.get(tensor.datatype)
    if row is None or tensor.parameters or any(dim < 0 for dim in tensor.shape):
        return False
    if raw is not None:
        return tensor.datatype != "BYTES" and len(raw) == math.prod(tensor.shape) * row.item_bytes
    values = getattr(tensor.contents, row.contents) if row.contents else ()
    return len(values) == math.prod(tensor.shape)


def _part(read: messages.ModelInferRequest, rows: int, begin: int, end: int) -> messages.ModelInferRequest:
    part = messages.ModelInferRequest(model_name=read.model_name, model_version=read.model_version, id=read.id)
    for name in read.parameters:
        part.parameters[name].CopyFrom(read.parameters[name])
    part.outputs.extend(read.outputs)
    for raw in read.raw_input_contents:
        row_bytes = len(raw) // rows
        part.raw_input_contents.append(raw[begin * row_bytes : end * row_bytes])
    for tensor in read.inputs:
        cut = part.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=[end - begin, *tensor.shape[1:]])
        for field, values in tensor.contents.ListFields():
            row_size = len(values) // rows
            getattr(cut.contents, field.name).extend(values[begin * row_size : end * row_size])
    return part


def gather(parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Put the serialized responses of all parts together: rows in order, everything else as the first has it.

    Raises:
        ModelExecutionError: an output has not as many rows as its part.
    """
    responses = [(rows, messages.ModelInferResponse.FromString(response)) for rows, response in parts]
    whole = responses[0][1]
    total = sum(rows for rows, _ in responses)
    raw: list[list[bytes]] = [[] for _ in whole.raw_output_contents]
    for rows, response in responses:
        _check(whole, response, rows)
        for pieces, piece in zip(raw, response.raw_output_contents, strict=True):
            pieces.append(piece)
        if response is not whole:
            _extend(whole, response)
    for output in whole.outputs:
        output.shape[0] = total
    del whole.raw_output_contents[:]
    whole.raw_output_contents.extend(b"".join(pieces) for pieces in raw)
    return whole.SerializeToString()


def _check(whole: messages.ModelInferResponse, response: messages.ModelInferResponse, rows: int) -> None:
    expected, got = ([(o.name, o.datatype, *o.shape[1:]) for o in r.outputs] for r in (whole, response))
    counts = [len(r.raw_output_contents) for r in (whole, response)]
    if expected != got or counts[0] != counts[1]:
        raise ModelExecutionError(f"parts of a split request: expected outputs alike, got {expected} and {got}")
    for output in response.outputs:
        if not output.shape or output.shape[0] != rows:
            raise ModelExecutionError(
                f"output {output.name!r} of a part: expected {rows} rows, got shape {list(output.shape)}"
            )


def _extend(whole: messages.ModelInferResponse, response: messages.ModelInferResponse) -> None:
    """Add the typed contents of another part."""
    for output, more in zip(whole.outputs, response.outputs, strict=True):
        for field, values in more.contents.ListFields():
            getattr(output.contents, field.name).extend(values)
