"""Columns to a model's inputs: by name, or as told; several scalar columns make one input [rows, k]."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.catalogue import Signature, TensorSpec
from modelyard.datasets.columns import Array, Batch, Column
from modelyard.datasets.conversion import FLOATS, convert, refusal
from modelyard.datasets.dataset import Dataset
from modelyard.errors import InvalidInputError

REST = "*"
"""In place of columns: all that are mapped to no other input, and are no key."""
Columns = Mapping[str, Sequence[str]]
"""The columns of each input."""


@dataclass(frozen=True)
class Feed:
    """What one input is made of; `stacked`: scalars side by side."""

    spec: TensorSpec
    columns: tuple[Column, ...]
    stacked: bool


@dataclass(frozen=True)
class Binding:
    """A dataset's columns bound to a model's inputs.

    Attributes:
        feeds: one an input.
        cast: values are rounded where the input's datatype has less.
    """

    feeds: tuple[Feed, ...]
    cast: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to be read."""
        return tuple(dict.fromkeys(column.name for feed in self.feeds for column in feed.columns))

    def inputs(self, batch: Batch) -> Batch:
        """The same rows with the model's inputs for columns; rows that do not fit have failed."""
        failed: dict[int, str] = {}
        found: dict[str, Array] = {}
        for feed in self.feeds:
            values = [self._converted(feed, column, batch, failed) for column in feed.columns]
            found[feed.spec.name] = np.stack(values, axis=1) if feed.stacked else values[0]
        return Batch(batch.rows, found, batch.failed).without(failed)

    def _converted(self, feed: Feed, column: Column, batch: Batch, failed: dict[int, str]) -> Array:
        rounding = self.cast or _parsed(column, feed.spec.datatype)
        converted, kept = convert(batch.columns[column.name], feed.spec.datatype, rounding=rounding)
        for place in np.flatnonzero(~kept):
            value = str(batch.columns[column.name][place])
            failed.setdefault(
                int(batch.rows[place]),
                f"input {feed.spec.name!r}: column {column.name!r} has {value:.80}, which {feed.spec.datatype} has not",
            )
        return converted


def _parsed(column: Column, target: str) -> bool:
    """Whether a number was text: then it is whatever the model's datatype makes of it."""
    return column.inferred and column.datatype == "FP64" and target in FLOATS


def parse_columns(texts: Sequence[str]) -> Columns:
    """Read INPUT=COLUMN, INPUT=COLUMN,COLUMN... or INPUT=*.

    Raises:
        InvalidInputError: a text is none of these, or names an input again.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, columns = text.partition("=")
        if not name or not columns or name in found:
            raise InvalidInputError(f"expected each input once, as INPUT=COLUMN[,COLUMN...] or INPUT=*; got {text!r}")
        found[name] = columns.split(",")
    return found


def bind(
    dataset: Dataset,
    signature: Signature,
    columns: Columns | None = None,
    *,
    cast: bool = False,
    keys: Collection[str] = (),
) -> Binding:
    """Bind every input of a model.

    Args:
        dataset: where the rows are.
        signature: its inputs, whose first dimension is that of the rows.
        columns: of inputs that have no column of their name. A model's only input takes a dataset's only
            column, or that of its images.
        cast: let values be rounded.
        keys: columns that REST does not mean.

    Raises:
        InvalidInputError: an input or column is unknown, an input has no column, or a column's datatype or shape is not
            what its input takes.
    """
    told = columns or {}
    unknown = sorted(set(told) - {spec.name for spec in signature.inputs})
    if unknown:
        known = ", ".join(repr(spec.name) for spec in signature.inputs)
        raise InvalidInputError(f"expected inputs of {known}; got a mapping for {unknown[0]!r}")
    feeds = [_feed(spec, _columns_of(spec, signature, dataset, told, keys)) for spec in signature.inputs]
    for feed in feeds:
        _check(feed, cast=cast)
    return Binding(tuple(feeds), cast)


def _columns_of(
    spec: TensorSpec, signature: Signature, dataset: Dataset, told: Columns, keys: Collection[str]
) -> list[Column]:
    names = list(told.get(spec.name, ()))
    if names == [REST]:
        taken = {*keys, *(name for columns in told.values() for name in columns)}
        taken |= {other.name for other in signature.inputs if other.name not in told}
        names = [column.name for column in dataset.columns if column.name not in taken]
        if not names:
            raise InvalidInputError(f"input {spec.name!r}: {dataset.name} has no columns that are not mapped elsewhere")
    if not names:
        if spec.name in {c.name for c in dataset.columns} or spec.name in dataset.unusable:
            names = [spec.name]
        elif len(signature.inputs) == 1 and (only := dataset.main_column):
            names = [only]
        else:
            have = "; ".join(str(column) for column in dataset.columns) or "none"
            raise InvalidInputError(
                f"input {spec.name!r}: expected a column of that name, or a mapping; {dataset.name} has {have:.1000}"
            )
    return [dataset.column(name) for name in names]


def _feed(spec: TensorSpec, columns: list[Column]) -> Feed:
    scalars = all(not column.shape for column in columns)
    stacked = len(columns) > 1 or (scalars and len(spec.shape) == 2)
    if len(columns) > 1 and not scalars:
        wrong = next(column for column in columns if column.shape)
        raise InvalidInputError(f"input {spec.name!r}: expected scalar columns where there are several, got {wrong}")
    return Feed(spec, tuple(columns), stacked)


def _check(feed: Feed, *, cast: bool) -> None:
    shape = (len(feed.columns),) if feed.stacked else feed.columns[0].shape
    wanted = feed.spec.shape[1:]
    fits = len(shape) == len(wanted) and all(
        -1 in pair or len(set(pair)) == 1 for pair in zip(shape, wanted, strict=True)
    )
    if not feed.spec.shape or not fits:
        got = f"{len(feed.columns)} scalar columns" if feed.stacked else str(feed.columns[0])
        raise InvalidInputError(f"expected rows for input {feed.spec}; got {got}")
    for column in feed.columns:
        rounding = cast or _parsed(column, feed.spec.datatype)
        reason = refusal(column.datatype, feed.spec.datatype, rounding=rounding)
        if reason:
            note = f" ({column.note})" if column.note else ""
            raise InvalidInputError(f"input {feed.spec.name!r}: column {column}{note}: {reason}")
