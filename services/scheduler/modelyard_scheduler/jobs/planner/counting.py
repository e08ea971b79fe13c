"""What is found out about a dataset before its job begins: whether it fits the model, and how many rows it has."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.catalogue import Signature
from modelyard.datasets.columns import Column
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.keyed import KeyedShards
from modelyard.datasets.mapping import bind
from modelyard.datasets.pieces import check_npy, result_columns
from modelyard.datasets.text import TextDataset
from modelyard.errors import InvalidInputError
from modelyard.jobs.planning import Plan, default_shards
from modelyard.jobs.spec import BatchInference, ResultFormat, Sharding


def check_fit(dataset: Dataset, inference: BatchInference, signature: Signature) -> tuple[Column, ...]:
    """Return the columns of results, if a job can execute a model on a dataset.

    Raises:
        InvalidInputError: a column is missing or does not fit its input; the results cannot be written as asked for.
    """
    if not signature.inputs or not signature.outputs:
        raise InvalidInputError(
            f"{inference.model}: expected a model whose signature has inputs and outputs, "
            f"got {len(signature.inputs)} and {len(signature.outputs)}"
        )
    if not _is_blank(dataset):
        bind(dataset, signature, dict(inference.columns), cast=inference.cast, keys=inference.keys)
    name = inference.output.key_column
    columns = result_columns(signature.outputs, _key(dataset, name) if name else None)
    if inference.output.format is ResultFormat.NPY:
        check_npy(columns)
    return columns


def _is_blank(dataset: Dataset) -> bool:
    """Whether it is text without rows, which does not tell what its columns hold, or that it has any."""
    return isinstance(dataset, TextDataset) and not dataset.rows


def _key(dataset: Dataset, name: str) -> Column:
    return Column(name, "BYTES") if _is_blank(dataset) else dataset.column(name)


def count(dataset: Dataset, sharding: Sharding, moved: Callable[[], None]) -> Plan:
    """A plan of all rows, without tasks.

    Args:
        dataset: whose rows; where they are sharded by a key, there is one pass over the keys.
        sharding: by what.
        moved: called again and again while that pass gets on.

    Raises:
        InvalidInputError: there is no such column, or it can be no key, or the dataset is corrupt.
    """
    if not sharding.key_column or _is_blank(dataset):
        return Plan(dataset.rows)
    shards = KeyedShards(dataset, sharding.key_column, sharding.shards or default_shards(dataset.rows))
    if not dataset.rows:
        return Plan(0)
    return Plan(dataset.rows, shard_rows=tuple(shards.counts(moved).tolist()))
