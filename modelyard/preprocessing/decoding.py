"""Decodings: each makes what a caller gets from one output of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from modelyard.catalogue import TensorSpec
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.preprocessing.fields import MAX_VALUES, Array, Name, Values, check_affine, matrix
from modelyard.preprocessing.shapes import FLOATS, expect

Label = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Labels(msgspec.Struct, frozen=True, tag="labels", tag_field="kind", forbid_unknown_fields=True):
    """Logits to the name of the likeliest class, BYTES [n], and its probability, FP32 [n].

    Attributes:
        output: of the model: FP16, FP32 or FP64.
        names: of the classes, by their index.
        activation: "softmax" of logits [n, classes]; or "sigmoid" of logits [n] or [n, 1]: the probability of the
            second of two classes, which is the likeliest from 0.5 on.
        label: how the name is called.
        score: how the probability is called.
    """

    output: Name
    names: Annotated[tuple[Label, ...], msgspec.Meta(min_length=2, max_length=MAX_VALUES)]
    activation: Literal["softmax", "sigmoid"] = "softmax"
    label: Name = "label"
    score: Name = "score"

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or self.label == self.score:
            raise InvalidInputError(f"{self.output}: expected distinct names of classes and outputs")
        if self.activation == "sigmoid" and len(self.names) != 2:
            raise InvalidInputError(f"{self.output}: expected 2 classes for sigmoid, got {len(self.names)}")

    @property
    def gives(self) -> tuple[str, ...]:
        """The names of what it makes."""
        return self.label, self.score

    def decode(self, values: Array) -> dict[str, Array]:
        """Return what the caller gets.

        Raises:
            ModelExecutionError: the model gave another number of values.
        """
        binary = self.activation == "sigmoid"
        rows = matrix(values)
        if rows.shape[1] != (1 if binary else len(self.names)):
            raise ModelExecutionError(
                f"output {self.output!r}: expected logits of {len(self.names)} classes for {self.activation}, got "
                f"{list(values.shape)}"
            )
        if binary:  # the softmax of (0, x) is the sigmoid of x
            rows = np.concatenate([np.zeros_like(rows), rows], axis=1)
            classes = (rows[:, 1] >= 0).astype(np.int64)
        else:
            classes = rows.argmax(axis=1)
        return {self.label: self._named(classes), self.score: _softmax(rows)[np.arange(len(rows)), classes]}

    def _named(self, classes: Array) -> Array:
        return np.array([*self.names, None], object)[:-1][classes]

    def outer(self, inner: TensorSpec) -> tuple[TensorSpec, ...]:
        """What a caller gets for a model's output; raises InvalidInputError if that is of another kind."""
        expect(inner, FLOATS, [(), (1,)] if self.activation == "sigmoid" else [(len(self.names),)])
        rows = inner.shape[:1]
        return TensorSpec(self.label, "BYTES", rows), TensorSpec(self.score, "FP32", rows)

    def indices(self, values: Array, name: str = "target", rows: Sequence[int] | None = None) -> Array:
        """The classes of a column of names, INT64 [n].

        Args:
            values: the column, [n].
            name: the column's, for messages.
            rows: the rows' numbers, for messages; None: from 0 on.

        Raises:
            InvalidInputError: a value is no class: its row is named.
        """
        known = {label: index for index, label in enumerate(self.names)}
        found = [known.get(label_of(value), -1) for value in values.tolist()]
        if -1 in found:
            place = found.index(-1)
            row, got = rows[place] if rows is not None else place, label_of(values[place])
            classes = ", ".join(map(repr, self.names[:20]))
            raise InvalidInputError(f"row {row}: column {name!r}: expected one of {classes:.500}; got {got!r:.80}")
        return np.array(found, np.int64)


class Rescaling(msgspec.Struct, frozen=True, tag="rescaling", tag_field="kind", forbid_unknown_fields=True):
    """FP32 [n] or [n, k] to the same shape, in the units of the training data: value * divisor + offset.

    Attributes:
        output: of the model.
        to: how the caller's output is called.
    """

    output: Name
    to: Name
    offset: Values
    divisor: Values

    def __post_init__(self) -> None:
        check_affine(self.output, self.offset, self.divisor)

    @property
    def gives(self) -> tuple[str, ...]:
        """The names of what it makes."""
        return (self.to,)

    def decode(self, values: Array) -> dict[str, Array]:
        """Return what the caller gets.

        Raises:
            ModelExecutionError: the model gave another number of values.
        """
        rows = matrix(values)
        if rows.shape[1] != len(self.offset):
            raise ModelExecutionError(f"output {self.output!r}: expected {len(self.offset)} values a row")
        scaled = rows * np.asarray(self.divisor, np.float32) + np.asarray(self.offset, np.float32)
        return {self.to: scaled.reshape(values.shape)}

    def scaled(self, values: Array) -> Array:
        """The other way, for a column of targets [n] or [n, k]: FP32 of the same shape that a model is trained on."""
        scaled = (matrix(values) - np.asarray(self.offset, np.float32)) / np.asarray(self.divisor, np.float32)
        return scaled.reshape(values.shape)

    def outer(self, inner: TensorSpec) -> tuple[TensorSpec, ...]:
        """What a caller gets for a model's output; raises InvalidInputError if that is of another kind."""
        expect(inner, FLOATS, [(len(self.offset),), *[()] * (len(self.offset) == 1)])
        return (TensorSpec(self.to, "FP32", inner.shape),)


Decoding = Labels | Rescaling


def label_of(value: object) -> str:
    """The name of a class as a column has it: text, in UTF-8 if it is bytes, or a whole number in digits."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _softmax(rows: Array) -> Array:
    weights = np.exp(rows - rows.max(axis=1, keepdims=True)) if rows.size else rows
    return weights / weights.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
