"""What a user asks for. Plain values; `modelyard.jobs.validation` says which of them make sense."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.errors import PreconditionError
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.training import TrainingSpec

__all__ = [
    "Artifact",
    "BatchInference",
    "Dataset",
    "JobSpec",
    "Output",
    "ResultFormat",
    "Sharding",
    "TrainingSpec",
]

DEFAULT_PRIORITY = 5
DEFAULT_ATTEMPTS = 3
DEFAULT_DEAD_ROWS = 1000


class ResultFormat(StrEnum):
    """What results are written as: one Parquet file with all outputs, or an npy file for each."""

    PARQUET = "PARQUET"
    NPY = "NPY"


@dataclass(frozen=True)
class Output:
    """How results are written; `key_column`: of the dataset, written beside the outputs; empty: none."""

    format: ResultFormat = ResultFormat.PARQUET
    key_column: str = ""


@dataclass(frozen=True)
class Sharding:
    """How rows are put into tasks.

    Attributes:
        key_column: rows with the same value in it are in the same shard; empty: tasks have rows that follow each other.
        shards: of the key's hash; 0: as many as make tasks of some seconds.
    """

    key_column: str = ""
    shards: int = 0


@dataclass(frozen=True)
class BatchInference:
    """A model, executed on every row of a dataset.

    Attributes:
        version: or alias; empty: the newest. Of an accepted job: the version.
        columns: the columns of inputs that have no column of their name; "*": all that no other input has but the keys.
        cast: values are rounded where an input's datatype has less than its column's.
    """

    model: str
    dataset: Dataset
    version: str = ""
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    cast: bool = False
    output: Output = Output()
    sharding: Sharding = Sharding()

    @property
    def keys(self) -> frozenset[str]:
        """The columns that tell rows apart: written beside the outputs, or sharded by."""
        return frozenset({self.output.key_column, self.sharding.key_column} - {""})


@dataclass(frozen=True)
class JobSpec:
    """What is to be done, which is one of `batch_inference` and `training`, and how urgently.

    Attributes:
        priority: 0 (first) to 9.
        deadline_s: how long after its submission it may end; 0: whenever.
        max_attempts: how often a row may make the model raise, and how often kill its process, before it is given up.
        max_dead_rows: the job fails when more rows were given up.
    """

    batch_inference: BatchInference | None = None
    priority: int = DEFAULT_PRIORITY
    deadline_s: float = 0.0
    max_attempts: int = DEFAULT_ATTEMPTS
    max_dead_rows: int = DEFAULT_DEAD_ROWS
    training: TrainingSpec | None = None

    def __post_init__(self) -> None:
        # A TypeError is what a record becomes malformed by.
        if (self.batch_inference is None) == (self.training is None):
            raise TypeError("a job is of one kind")

    @property
    def inference(self) -> BatchInference:
        """What a batch job is to do. PreconditionError: it is another kind of job."""
        if self.batch_inference is None:
            raise PreconditionError("job: expected a batch job, whose rows have results; got one that trains a model")
        return self.batch_inference

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """What is read."""
        if self.training is None:
            return (self.inference.dataset,)
        data = self.training.data
        return (data.dataset, data.validation) if data.validation else (data.dataset,)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What is read of the artifact store, the user's code among it."""
        code = (self.training.code.artifact,) if self.training else ()
        return (*code, *(dataset.artifact for dataset in self.datasets if dataset.artifact))

    @property
    def rows(self) -> BatchInference:
        """As `inference`, for who asks for rows. PreconditionError: says where what it comes to is instead."""
        if self.training is None:
            return self.inference
        raise PreconditionError(
            f"job: it trains a model and has no rows: what comes of it is a version of {self.training.model!r}, which "
            "the job names when it has SUCCEEDED; what went wrong say its reason and its logs"
        )

    @property
    def model(self) -> str:
        """The model that is executed, or of which a version is made."""
        return self.training.model if self.training else self.inference.model
