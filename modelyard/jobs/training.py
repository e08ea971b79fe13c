"""What a user asks for who wants a model trained. Plain values; `training_validation` says which of them make sense."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from modelyard.catalogue import Resources
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Artifact, Dataset

SCRIPT_SUFFIX = ".py"


@dataclass(frozen=True)
class Code:
    """The user's own code.

    Attributes:
        artifact: the directory it stands in, which is where it is run.
        entry: `module:Class` of a recipe, or `module` where it has only one; or the path of a script within the
            directory, which ends with ".py".
        parameters: as text: of a recipe, read by the type that it declares for each; a script gets `--name=value`, or
            `--name` where the value is empty.
        max_restarts: of a script: how often it is started again because it has failed.
    """

    artifact: Artifact
    entry: str
    parameters: tuple[tuple[str, str], ...] = ()
    max_restarts: int = 3

    @property
    def is_script(self) -> bool:
        """Whether it is run as torchrun runs a script; if not, it is a recipe whose loop is ours."""
        return self.entry.endswith(SCRIPT_SUFFIX)


@dataclass(frozen=True)
class TrainingData:
    """What is learned from.

    Attributes:
        dataset: what is trained on; a script may have none.
        validation: what metrics are measured on; None: on the part that is held out, if there is one.
        held_out: the fraction of the dataset that is not trained on, chosen by the seed; 0: none.
        features: columns that the model gets; empty: all but the target.
        target: the column that it learns; empty: none, or what the kind of dataset has for it.
        balanced: whether each label of the target comes as often as any other: an epoch has as many samples as the
            dataset, some of them several times, others not at all.
    """

    dataset: Dataset = field(default_factory=Dataset)
    validation: Dataset | None = None
    held_out: float = 0.0
    features: tuple[str, ...] = ()
    target: str = ""
    balanced: bool = False


class Precision(StrEnum):
    """What a model computes in; its weights and the optimizer's state are FP32 all the same."""

    FP32 = "FP32"
    BF16 = "BF16"


@dataclass(frozen=True)
class Parallelism:
    """How ranks share the work. Ranks that only differ in `data` and `shard` train on different samples.

    Attributes:
        data: replicas; 0: as many as the workers make.
        shard: ranks that weights, gradients and the optimizer's state of a replica are cut over.
        tensor: ranks that each share single layers.
        pipeline: stages, each with some of the layers.
    """

    data: int = 0
    shard: int = 1
    tensor: int = 1
    pipeline: int = 1

    @property
    def replica(self) -> int:
        """How many ranks make one replica: what fails and is rebuilt as a whole."""
        return self.shard * self.tensor * self.pipeline

    def resolved(self, ranks: int) -> Parallelism:
        """The same with as many replicas as these ranks make.

        Raises:
            InvalidInputError: it does not multiply out to them.
        """
        data = self.data or ranks // self.replica
        if data < 1 or data * self.replica != ranks:
            said = f"data {self.data or 'any'} x shard {self.shard} x tensor {self.tensor} x pipeline {self.pipeline}"
            expected = self.data * self.replica or f"a multiple of {self.replica}"
            raise InvalidInputError(f"parallelism: {said}: expected {expected} ranks, got {ranks}")
        return Parallelism(data, self.shard, self.tensor, self.pipeline)


@dataclass(frozen=True)
class Checkpoints:
    """How often the state is saved, whichever of the two comes first, and how many of the saved ones are kept.

    Attributes:
        every_steps: 0: whatever the number of steps.
        every_s: 0: whatever the time. Neither: at the end of each epoch.
    """

    every_steps: int = 0
    every_s: float = 0.0
    keep_last: int = 3


@dataclass(frozen=True)
class Objective:
    """Which weights are the best, and when there will be no better ones.

    Attributes:
        metric: that decides: its mean over the validation data, or if there are none, over those of an epoch.
        patience: so many epochs may follow each other without a better one, then training ends early; 0: it never does.
        min_delta: by how much a value has to be better to count as such.
    """

    metric: str = "loss"
    higher_is_better: bool = False
    patience: int = 0
    min_delta: float = 0.0


@dataclass(frozen=True)
class Release:
    """What is done with the version that comes out.

    Attributes:
        alias: is moved to it; empty: none.
        deploy: whether it is deployed, in place of what is deployed of the model.
        if_better: both only if the objective is better in it than in what the alias means, or what is deployed, until
            then.
    """

    alias: str = ""
    deploy: bool = False
    if_better: bool = False


@dataclass(frozen=True)
class TrainingSpec:
    """A model, made by training.

    Attributes:
        model: what comes out is a version of it.
        epochs: passes over the data; 0: `steps` says how long.
        steps: of the optimizer; 0: `epochs` says how long.
        batch_size: samples of a step, over all ranks.
        accumulation: parts that each rank takes its samples of a step in.
        seed: of the order of samples, and of all else that is random.
        min_workers: with fewer of them it waits.
        max_workers: it takes as many as it can have, up to this.
        resources: that each rank needs; memory 0: as much as most need.
        resume_from: the id of another job, whose last checkpoint it goes on from; empty: it begins anew.
        stall_s: a rank that is in one batch for so long, and waits for no other, hangs: the job has failed. So has that
            of a script whose ranks all do nothing for so long; 0: that is not looked at.
    """

    model: str
    code: Code
    data: TrainingData
    epochs: int = 0
    steps: int = 0
    batch_size: int = 32
    accumulation: int = 1
    precision: Precision = Precision.FP32
    seed: int = 0
    parallelism: Parallelism = Parallelism()
    min_workers: int = 1
    max_workers: int = 1
    checkpoints: Checkpoints = Checkpoints()
    objective: Objective = Objective()
    release: Release = Release()
    resources: Resources = field(default_factory=Resources)
    resume_from: str = ""
    stall_s: float = 600.0
