"""What can be said of a batch job beside its model and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelyard.datasets.image_options import ImageOptions
from modelyard.errors import InvalidInputError
from modelyard.jobs import spec as values
from modelyard.jobs.spec import Artifact, Dataset, JobSpec, ResultFormat
from modelyard.jobs.validation import check_spec
from modelyard.names import ModelVersion
from modelyard.rpc import convert

_SOME_ARTIFACT = Artifact("0" * 64)


@dataclass(frozen=True)
class JobOptions:
    """How a batch job is done.

    Attributes:
        columns: the columns that make an input, by the input's name; several scalar ones stand side by side, "*" is all
            that no other input has, without the columns of `key_column` and `shard_by`. An input that is not named
            takes the column of its name.
        cast: values may be rounded where an input's datatype has less than its column's.
        kind: of the dataset: "npy", "npz", "parquet", "csv", "jsonl" or "images"; empty: what the file's suffix says, a
            directory is of images.
        images: what is done with every image; None: nothing.
        format: "parquet", one file with all outputs, or "npy", a file for each.
        key_column: a column of the dataset that is written beside the outputs; empty: none.
        shard_by: rows with the same value in this column are executed by the same task, and results are in the order of
            the shards; empty: a task has rows that follow each other, and results have the order of the input.
        shards: how many by the hash of that column; 0: as many as make tasks of some seconds.
        priority: 0 (first) to 9, among the jobs of the tenant.
        deadline_s: it has FAILED if it has not ended so long after it was submitted; 0: whenever.
        max_attempts: how often a row may make the model raise, and how often kill its process, before it is given up.
        max_dead_rows: the job has FAILED when more rows than these were given up.
        request_id: a name for this submission: the same again finds the same job; empty: one is made up.
    """

    columns: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    cast: bool = False
    kind: str = ""
    images: ImageOptions | None = None
    format: ResultFormat | str = ResultFormat.PARQUET
    key_column: str = ""
    shard_by: str = ""
    shards: int = 0
    priority: int = values.DEFAULT_PRIORITY
    deadline_s: float = 0.0
    max_attempts: int = values.DEFAULT_ATTEMPTS
    max_dead_rows: int = values.DEFAULT_DEAD_ROWS
    request_id: str = ""

    def check(self, reference: ModelVersion) -> None:
        """Raise InvalidInputError, naming the value, unless a job can be told all of this."""
        spec = self.spec(reference, Dataset(artifact=_SOME_ARTIFACT, kind=self.kind, images=self.images))
        convert.spec_to_pb(spec)
        check_spec(spec)

    def spec(self, reference: ModelVersion, dataset: Dataset) -> JobSpec:
        """What is asked for, on a dataset. InvalidInputError: the format is none."""
        inference = values.BatchInference(
            model=reference.model,
            version=reference.version,
            dataset=dataset,
            columns=tuple((name, _names(columns)) for name, columns in self.columns.items()),
            cast=self.cast,
            output=values.Output(_format(self.format), self.key_column),
            sharding=values.Sharding(self.shard_by, self.shards),
        )
        return JobSpec(inference, self.priority, self.deadline_s, self.max_attempts, self.max_dead_rows)


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _format(name: str) -> ResultFormat:
    known = {one.value.lower(): one for one in ResultFormat}
    if name.lower() not in known:
        raise InvalidInputError(f"format: expected {' or '.join(known)}, got {name!r:.80}")
    return known[name.lower()]
