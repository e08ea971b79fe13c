"""Responses: serialized by hand around the tensors, because a message of them would copy each twice more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.classification import classify
from modelyard.oip.tensors import Array, to_raw
from modelyard.oip.wire import varint
from modelyard.rpc.channel import MAX_MESSAGE_BYTES
from modelyard_worker.runner.layouts import Buffer
from modelyard_worker.runner.requests import Form, Request

Pieces = list[Buffer]
"""What a serialized ModelInferResponse is, joined: one piece if it is small."""
SMALL_BYTES = 64 << 10
MAX_RESPONSE_BYTES = MAX_MESSAGE_BYTES - 1024
"""What still fits into a message to a front door."""
MOST_SHAPES = 64
_ID, _RAW = b"\x1a", b"\x32"
Shapes = tuple[tuple[int, ...], ...]


class Rows:
    """The contents of an output, to be cut by rows: its first dimension, of 1 or more."""

    __slots__ = ("_bytes", "_row_bytes", "shape")

    def __init__(self, array: Array) -> None:
        self.shape = array.shape[1:]
        self._row_bytes = array.nbytes // len(array)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.nbytes <= SMALL_BYTES:
            self._bytes: Buffer = little.tobytes()
        else:
            self._bytes = np.ascontiguousarray(little).reshape(-1).view(np.uint8).data

    def between(self, begin: int, end: int) -> Buffer:
        """The contents of some rows; not copied if the whole is large."""
        return self._bytes[begin * self._row_bytes : end * self._row_bytes]


class Answers:
    """Makes the responses of one instance."""

    def __init__(self, version: str, worker: str, *, batched: bool, labels: Sequence[str] = ()) -> None:
        """`batched`: whether the first dimension of every tensor is that of the rows; `labels` of the classes."""
        self._version = version
        self._worker = worker
        self._batched = batched
        self._labels = labels

    def of_batch(self, batch: Sequence[Request], outputs: dict[str, Array]) -> list[Pieces]:
        """Take the outputs of stacked requests apart: the first dimension of each is that of all their rows."""
        plain = {name: Rows(array) for name, array in outputs.items() if array.dtype.kind not in "OSU"}
        answers: list[Pieces] = []
        begin = 0
        for request in batch:
            form, end = request.form, begin + request.form.rows
            if form.classified or len(plain) < len(outputs):
                answers.append(self.of_one(request, {w.name: outputs[w.name][begin:end] for w in form.outputs}))
            else:
                rows = [plain[w.name] for w in form.outputs]
                shapes = tuple([(form.rows, *r.shape) for r in rows])
                answers.append(self._pieces(request, shapes, [r.between(begin, end) for r in rows]))
            begin = end
        return answers

    def of_one(self, request: Request, outputs: dict[str, Array]) -> Pieces:
        """The response to a request that has these outputs to itself.

        Raises:
            InvalidInputError: an output cannot be classified, or the response is too large.
        """
        shapes: list[tuple[int, ...]] = []
        contents: list[Buffer] = []
        for wanted in request.form.outputs:
            array, kind, count = outputs[wanted.name], wanted.datatype, wanted.classes
            if count:
                array = classify(wanted.name, kind, array, count, batched=self._batched, labels=self._labels)
            shapes.append(array.shape)
            text = count or kind == "BYTES"
            contents.append(to_raw(array, "BYTES") if text else Rows(array[np.newaxis]).between(0, 1))
        return self._pieces(request, tuple(shapes), contents)

    def _pieces(self, request: Request, shapes: Shapes, contents: Sequence[Buffer]) -> Pieces:
        form = request.form
        around = form.around.get(shapes) or self._around(form, shapes)
        pieces: Pieces = [around[0]]
        if request.id:
            pieces += (_ID, varint(len(request.id)), request.id)
        pieces.append(around[1])
        for part in contents:
            pieces += (_RAW, varint(len(part)), part)
        if not any(len(p) > SMALL_BYTES for p in contents):
            return [b"".join(pieces)]
        size = sum(map(len, pieces))
        if size > MAX_RESPONSE_BYTES:
            raise InvalidInputError(
                f"the response would have {size} bytes, expected at most {MAX_RESPONSE_BYTES}: "
                "ask for fewer rows or for some of the outputs"
            )
        return pieces

    def _around(self, form: Form, shapes: Shapes) -> tuple[bytes, bytes]:
        """What is serialized before the id, and between it and the contents."""
        before = messages.ModelInferResponse(model_name=form.model_name, model_version=self._version)
        after = messages.ModelInferResponse()
        after.parameters["worker"].string_param = self._worker
        for wanted, shape in zip(form.outputs, shapes, strict=True):
            after.outputs.add(name=wanted.name, datatype="BYTES" if wanted.classes else wanted.datatype, shape=shape)
        around = before.SerializeToString(), after.SerializeToString()
        if len(form.around) < MOST_SHAPES:
            form.around[shapes] = around
        return around
