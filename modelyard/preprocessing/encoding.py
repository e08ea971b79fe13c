"""Encodings: each makes one input of a model from what a caller sends. Rows are encoded each by itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from modelyard.catalogue import TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.preprocessing.cleaning import Cleaning, texts
from modelyard.preprocessing.fields import Array, Name, Names, Values, check_affine, matrix
from modelyard.preprocessing.shapes import expect
from modelyard.preprocessing.vocabulary import Kind, Vocabulary

CHARACTERS_PER_TOKEN = 64
"""Of a text the first `length` times as many characters are looked at, so that its tokens fit into memory."""
MAX_LENGTH = 1 << 14


class Text(msgspec.Struct, frozen=True, tag="text", tag_field="kind", forbid_unknown_fields=True):
    """BYTES [n] to INT64 [n, length]: ids of a vocabulary, which is in a file of its own."""

    input: Name
    to: Name
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_LENGTH)]
    tokenizer: Kind
    cleaning: Cleaning = Cleaning()

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of what it is made from."""
        return (self.input,)

    def cleaned(self, values: Array) -> list[str]:
        """The texts as they are tokenised.

        Raises:
            InvalidInputError: one is not text.
        """
        most = self.length * CHARACTERS_PER_TOKEN
        return [self.cleaning.clean(text)[:most] for text in texts(values.reshape(-1).tolist(), self.input)]

    def encode(self, inputs: dict[str, Array], vocabulary: Vocabulary | None) -> Array:
        """Return the model's input."""
        if vocabulary is None:
            raise InvalidInputError(f"input {self.input!r}: expected a vocabulary")
        return vocabulary.ids(self.cleaned(inputs[self.input]))

    def outer(self, inner: TensorSpec) -> tuple[TensorSpec, ...]:
        """What a caller sends for a model's input; raises InvalidInputError if that is of another kind."""
        expect(inner, {"INT64"}, [(self.length,)])
        return (TensorSpec(self.input, "BYTES", inner.shape[:1]),)


class Scaling(msgspec.Struct, frozen=True, tag="scaling", tag_field="kind", forbid_unknown_fields=True):
    """FP32 [n] each, side by side, or one FP32 [n, k], to FP32 [n, k]: (value - offset) / divisor."""

    inputs: Names
    to: Name
    offset: Values
    divisor: Values

    def __post_init__(self) -> None:
        check_affine(self.to, self.offset, self.divisor)
        if len(self.inputs) not in {1, len(self.offset)} or len(set(self.inputs)) != len(self.inputs):
            raise InvalidInputError(f"{self.to}: expected an input for each of the {len(self.offset)} offsets, or one")

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of what it is made from."""
        return self.inputs

    def encode(self, inputs: dict[str, Array], _: Vocabulary | None) -> Array:
        """Return the model's input.

        Raises:
            InvalidInputError: the columns' number is another one.
        """
        values = [np.asarray(inputs[name], np.float32) for name in self.inputs]
        rows = np.stack(values, axis=1) if len(values) > 1 else matrix(values[0])
        if rows.shape[1:] != (len(self.offset),):
            raise InvalidInputError(f"{self.inputs[0]!r}: expected {len(self.offset)} columns, got {rows.shape[1:]}")
        return (rows - np.asarray(self.offset, np.float32)) / np.asarray(self.divisor, np.float32)

    def outer(self, inner: TensorSpec) -> tuple[TensorSpec, ...]:
        """What a caller sends for a model's input; raises InvalidInputError if that is of another kind."""
        expect(inner, {"FP32"}, [(len(self.offset),)])
        if len(self.inputs) == 1:
            return (TensorSpec(self.inputs[0], "FP32", (*inner.shape[:1], len(self.offset))),)
        return tuple(TensorSpec(name, "FP32", inner.shape[:1]) for name in self.inputs)


class Image(msgspec.Struct, frozen=True, tag="image", tag_field="kind", forbid_unknown_fields=True):
    """UINT8 [n, H, W, C] to FP32 [n, C, H, W]: (value / 255 - mean) / std for each channel."""

    input: Name
    to: Name
    mean: Values
    std: Values

    def __post_init__(self) -> None:
        check_affine(self.to, self.mean, self.std)

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of what it is made from."""
        return (self.input,)

    def encode(self, inputs: dict[str, Array], _: Vocabulary | None) -> Array:
        """Return the model's input.

        Raises:
            InvalidInputError: the channels' number is another one.
        """
        pixels = inputs[self.input]
        if pixels.ndim != 4 or pixels.shape[3] != len(self.mean):
            raise InvalidInputError(f"{self.input!r}: expected [n, H, W, {len(self.mean)}], got {list(pixels.shape)}")
        scaled = np.asarray(pixels, np.float32) / np.float32(255)
        normal = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))

    def outer(self, inner: TensorSpec) -> tuple[TensorSpec, ...]:
        """What a caller sends for a model's input; raises InvalidInputError if that is of another kind."""
        expect(inner, {"FP32"}, [(len(self.mean), -1, -1)])
        rows, _, height, width = inner.shape
        return (TensorSpec(self.input, "UINT8", (rows, height, width, len(self.mean))),)


Encoding = Text | Scaling | Image
