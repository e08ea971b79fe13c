"""What is to be fitted to training data. Each option's `fit` looks at the columns that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.cleaning import Cleaning
from modelyard.preprocessing.decoding import Labels, Rescaling, label_of
from modelyard.preprocessing.encoding import Image, Scaling, Text
from modelyard.preprocessing.fields import Array
from modelyard.preprocessing.vocabulary import Kind, Vocabulary, fit

Method = Literal["standard", "range"]
"""To mean 0 and standard deviation 1, or from the least and greatest value to 0 and 1. What is constant becomes 0."""
Columns = Mapping[str, Array]
_CLEANING = Cleaning()


@dataclass(frozen=True)
class TextOptions:
    """A vocabulary.

    Attributes:
        input: the column, and what callers send.
        to: the model's input.
        length: how many tokens of a text are kept.
        tokens: how many the vocabulary has at most.
        tokenizer: "word" or "bpe".
        least: how often a token has to come to be one.
        cleaning: of texts, before they are split.
    """

    input: str = "text"
    to: str = "ids"
    length: int = 256
    tokens: int = 20_000
    tokenizer: Kind = "word"
    least: int = 2
    cleaning: Cleaning = _CLEANING

    def fit(self, columns: Columns) -> tuple[Text, Vocabulary]:
        """The encoding, and its vocabulary."""
        step = Text(self.input, self.to, self.length, self.tokenizer, self.cleaning)
        texts = step.cleaned(_column(columns, self.input))
        return step, fit(texts, self.tokenizer, self.tokens, self.least, self.length)


@dataclass(frozen=True)
class ScalingOptions:
    """Numbers: several columns [n], or one [n, k], which make one input of the model."""

    inputs: tuple[str, ...]
    to: str = "x"
    method: Method = "standard"

    def fit(self, columns: Columns) -> tuple[Scaling, None]:
        """The encoding."""
        values = [_numbers(columns, name) for name in self.inputs]
        if len(values) > 1 and any(value.ndim != 1 for value in values):
            raise InvalidInputError(f"{self.to!r}: expected columns of single numbers where there are several")
        return Scaling(self.inputs, self.to, *_affine(np.column_stack(values), self.method)), None


@dataclass(frozen=True)
class ImageOptions:
    """Pixels UINT8 [n, H, W, C], normalised for each channel."""

    input: str = "image"
    to: str = "x"

    def fit(self, columns: Columns) -> tuple[Image, None]:
        """The encoding."""
        pixels = _column(columns, self.input)
        if pixels.dtype != np.uint8 or pixels.ndim != 4:
            raise InvalidInputError(f"{self.input!r}: expected UINT8 [n, H, W, C], got {pixels.dtype} {pixels.shape}")
        counts = [np.bincount(pixels[..., channel].reshape(-1), minlength=256) for channel in range(pixels.shape[3])]
        levels = np.arange(256) / 255
        mean = [float(count @ levels / count.sum()) for count in counts]
        std = [float(np.sqrt(c @ (levels - m) ** 2 / c.sum())) or 1.0 for c, m in zip(counts, mean, strict=True)]
        return Image(self.input, self.to, tuple(mean), tuple(std)), None


@dataclass(frozen=True)
class LabelOptions:
    """Classes by the names in a column, sorted: numbers by their value. See Labels for the rest."""

    column: str = "label"
    output: str = "logits"
    activation: Literal["softmax", "sigmoid"] = "softmax"

    def fit(self, columns: Columns) -> tuple[Labels, None]:
        """The decoding."""
        column = _column(columns, self.column)
        if column.dtype.kind == "f":
            raise InvalidInputError(f"{self.column!r}: expected names or whole numbers as labels, got {column.dtype}")
        values = sorted(set(column.reshape(-1).tolist()))
        if len(values) < 2:
            raise InvalidInputError(f"{self.column!r}: expected at least 2 classes, got {len(values)}")
        return Labels(self.output, tuple(label_of(value) for value in values), self.activation), None


@dataclass(frozen=True)
class TargetOptions:
    """Numbers [n] or [n, k] that a model is to predict, which it is trained on scaled."""

    column: str
    output: str = "y"
    to: str = ""
    method: Method = "standard"

    def fit(self, columns: Columns) -> tuple[Rescaling, None]:
        """The decoding; `to` is the column's name if none is given."""
        values = _numbers(columns, self.column)
        affine = _affine(values.reshape(len(values), -1), self.method)
        return Rescaling(self.output, self.to or self.column, *affine), None


Options = TextOptions | ScalingOptions | ImageOptions | LabelOptions | TargetOptions


def _column(columns: Columns, name: str) -> Array:
    if name not in columns:
        known = ", ".join(map(repr, columns)) or "no column"
        raise InvalidInputError(f"expected a column of {known:.1000}; got {name!r}")
    if not len(columns[name]):
        raise InvalidInputError(f"{name!r}: expected at least one row to fit to")
    return columns[name]


def _numbers(columns: Columns, name: str) -> Array:
    values = _column(columns, name)
    if values.dtype.kind not in "biuf":
        raise InvalidInputError(f"{name!r}: expected numbers, got {values.dtype}")
    numbers = values.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1))
    if len(wrong):
        raise InvalidInputError(f"{name!r}: row {wrong[0]}: expected finite numbers to fit to")
    return numbers


def _affine(values: Array, method: Method) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Offset and divisor of each column; the divisor of a constant one is 1."""
    if method == "standard":
        offset, divisor = values.mean(axis=0), values.std(axis=0)
    else:
        offset, divisor = values.min(axis=0), np.ptp(values, axis=0)
    constant = (values.min(axis=0) == values.max(axis=0)) | (divisor < np.finfo(np.float32).tiny)
    divisor = np.where(constant, 1.0, divisor)
    return tuple(offset.tolist()), tuple(divisor.tolist())
