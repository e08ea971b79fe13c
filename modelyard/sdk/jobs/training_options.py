"""What can be said of a training beside its code and its data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.catalogue import Resources
from modelyard.datasets.image_options import ImageOptions
from modelyard.errors import InvalidInputError
from modelyard.jobs import spec as jobs
from modelyard.jobs import training as values
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset, JobSpec
from modelyard.jobs.training import Checkpoints, Parallelism, Release
from modelyard.jobs.validation import check_spec
from modelyard.rpc import convert

_SOME_ARTIFACT = Artifact("0" * 64)
_MODES = ("min", "max")


@dataclass(frozen=True)
class TrainingJobOptions:
    """How a model is trained, and what becomes of it.

    Attributes:
        entry: `module:Class` of a recipe, or `module` where it has only one; or the path of a script, which ends with
            ".py".
        parameters: of a recipe, by name; what is no text becomes JSON. A script gets them as `--name=value`, or as
            `--name` where the value is an empty text.
        kind: of the datasets: "npy", "npz", "parquet", "csv", "jsonl" or "images"; empty: what their suffixes say.
        images: what is done with every image; None: nothing.
        features: columns that the model gets; empty: all but the target.
        target: the column that it learns; empty: none, or what the kind of dataset has for it.
        held_out: the fraction of the dataset that is not trained on, where there is no validation dataset.
        epochs: passes over the data; 0: as `steps` says, or one where that is 0 too.
        steps: of the optimizer; 0: as `epochs` says.
        batch_size: samples of a step, over all workers.
        accumulation: parts that each worker takes its samples of a step in.
        precision: "fp32" or "bf16".
        seed: of the order of samples, and of all else that is random.
        workers: it takes as many as it can have, up to these.
        min_workers: with fewer it waits; 0: with fewer than one replica takes.
        parallelism: how workers share the work.
        checkpoints: how often the state is saved.
        metric: which mean decides what is best: of the validation data, or if there are none, of training.
        mode: whether its "min" or its "max" is best.
        patience: so many epochs may follow each other without a better one, then training ends early; 0: never.
        min_delta: by how much it must be better.
        release: what is done with the version that comes out.
        resources: that each worker needs of its machine; memory 0: as much as most need.
        priority: 0 (first) to 9, among the jobs of the tenant.
        deadline_s: it has FAILED if it has not ended so long after it was submitted; 0: whenever.
        request_id: a name for this submission: the same again finds the same job; empty: one is made up.
        resume_from: another training job, or its id: it goes on from the last checkpoint of that, with the same data
            and seed; epochs and steps count from the beginning of the first. A script finds the files that the script
            of that one had left. Empty: it begins anew.
        max_restarts: of a script: how often it is started again because it has failed.
        balanced: whether each label of the target comes as often as any other: an epoch has as many samples as the
            dataset, some of them several times, others not at all.
        stall_s: a worker that is in one batch for so long, and waits for no other, hangs: the job has failed; None: 10
            minutes. So has that of a script whose workers all do nothing for so long; None: that is not looked at.
    """

    entry: str = "recipe"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    images: ImageOptions | None = None
    features: Sequence[str] = ()
    target: str = ""
    held_out: float = 0.0
    epochs: int = 0
    steps: int = 0
    batch_size: int = values.TrainingSpec.batch_size
    accumulation: int = 1
    precision: str = "fp32"
    seed: int = 0
    workers: int = 1
    min_workers: int = 0
    parallelism: Parallelism = field(default_factory=Parallelism)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    metric: str = "loss"
    mode: str = "min"
    patience: int = 0
    min_delta: float = 0.0
    release: Release = field(default_factory=Release)
    priority: int = jobs.DEFAULT_PRIORITY
    deadline_s: float = 0.0
    request_id: str = ""
    resources: Resources = field(default_factory=Resources)
    resume_from: Job | str = ""
    max_restarts: int = values.Code.max_restarts
    balanced: bool = False
    stall_s: float | None = None

    def check(self, model: str, has_data: bool = True) -> None:
        """Raise InvalidInputError, naming the value, unless a job can be told all of this.

        Args:
            model: of which a version comes out.
            has_data: whether it is given a dataset.
        """
        artifact = _SOME_ARTIFACT if has_data else None
        dataset = Dataset(artifact=artifact, kind=self.kind, images=self.images)
        spec = self.spec(model, _SOME_ARTIFACT, dataset)
        convert.spec_to_pb(spec)
        check_spec(spec)

    def spec(self, model: str, code: Artifact, dataset: Dataset, validation: Dataset | None = None) -> JobSpec:
        """What is asked for. InvalidInputError: precision or mode is none."""
        parameters = tuple((name, _text(value)) for name, value in self.parameters.items())
        whole = values.Code(code, self.entry, parameters, self.max_restarts)
        is_endless = not (self.epochs or self.steps or whole.is_script)
        training = values.TrainingSpec(
            model=model,
            code=whole,
            data=self._data(dataset, validation),
            epochs=1 if is_endless else self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            accumulation=self.accumulation,
            precision=_precision(self.precision),
            seed=self.seed,
            parallelism=self.parallelism,
            min_workers=self.min_workers or min(self.parallelism.replica, self.workers),
            max_workers=self.workers,
            checkpoints=self.checkpoints,
            objective=self._objective(),
            release=self.release,
            resources=self.resources,
            resume_from=self.resume_from if isinstance(self.resume_from, str) else self.resume_from.id,
            stall_s=self._stall_s(whole),
        )
        return JobSpec(priority=self.priority, deadline_s=self.deadline_s, training=training)

    def _data(self, dataset: Dataset, validation: Dataset | None) -> values.TrainingData:
        features = tuple(self.features)
        return values.TrainingData(dataset, validation, self.held_out, features, self.target, self.balanced)

    def _stall_s(self, code: values.Code) -> float:
        if self.stall_s is not None:
            return self.stall_s
        return 0.0 if code.is_script else values.TrainingSpec.stall_s

    def _objective(self) -> values.Objective:
        if self.mode not in _MODES:
            raise InvalidInputError(f"mode: expected {' or '.join(_MODES)}, got {self.mode!r:.80}")
        return values.Objective(self.metric, self.mode == "max", self.patience, self.min_delta)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"parameters: expected texts, or what JSON can hold: {error}") from None


def _precision(name: str) -> values.Precision:
    known = {one.value.lower(): one for one in values.Precision}
    if name.lower() not in known:
        raise InvalidInputError(f"precision: expected {' or '.join(known)}, got {name!r:.80}")
    return known[name.lower()]
