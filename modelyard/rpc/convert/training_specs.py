"""What a training is asked for."""

from __future__ import annotations

from modelyard.errors import InvalidInputError
from modelyard.jobs import training as values
from modelyard.rpc.build import build
from modelyard.rpc.convert.job_datasets import artifact_from_pb, artifact_to_pb, dataset_from_pb, dataset_to_pb
from modelyard.rpc.convert.types import resources_from_pb, resources_to_pb
from modelyard.v1 import jobs_pb2 as pb


def training_to_pb(spec: values.TrainingSpec) -> pb.TrainingSpec:
    """A training."""
    return build(
        pb.TrainingSpec,
        model=spec.model,
        code=_code_to_pb(spec.code),
        data=_data_to_pb(spec.data),
        epochs=spec.epochs,
        steps=spec.steps,
        batch_size=spec.batch_size,
        accumulation=spec.accumulation,
        precision=spec.precision.value,
        seed=spec.seed,
        parallelism=_parallelism_to_pb(spec.parallelism),
        min_workers=spec.min_workers,
        max_workers=spec.max_workers,
        checkpoints=_checkpoints_to_pb(spec.checkpoints),
        objective=_objective_to_pb(spec.objective),
        release=_release_to_pb(spec.release),
        resources=resources_to_pb(spec.resources),
        resume_from=spec.resume_from,
        stall_s=spec.stall_s,
    )


def training_from_pb(spec: pb.TrainingSpec) -> values.TrainingSpec:
    """A training, with the defaults for what is not set.

    Raises:
        InvalidInputError: the precision is one that this release does not know, or sizes or channels of images are not
            as many as they have to be.
    """
    min_workers = spec.min_workers or 1
    code = _code_from_pb(spec.code)
    return values.TrainingSpec(
        model=spec.model,
        code=code,
        data=_data_from_pb(spec.data),
        epochs=spec.epochs,
        steps=spec.steps,
        batch_size=spec.batch_size or values.TrainingSpec.batch_size,
        accumulation=spec.accumulation or 1,
        precision=_precision_from_pb(spec.precision),
        seed=spec.seed,
        parallelism=_parallelism_from_pb(spec.parallelism),
        min_workers=min_workers,
        max_workers=spec.max_workers or min_workers,
        checkpoints=_checkpoints_from_pb(spec.checkpoints),
        objective=_objective_from_pb(spec.objective),
        release=_release_from_pb(spec.release),
        resources=resources_from_pb(spec.resources),
        resume_from=spec.resume_from,
        stall_s=spec.stall_s or (0.0 if code.is_script else values.TrainingSpec.stall_s),
    )


def _code_to_pb(code: values.Code) -> pb.TrainingCode:
    parameters = [build(pb.TrainingParameter, name=name, value=value) for name, value in code.parameters]
    artifact = artifact_to_pb(code.artifact)
    return build(
        pb.TrainingCode, artifact=artifact, entry=code.entry, parameters=parameters, max_restarts=code.max_restarts
    )


def _code_from_pb(code: pb.TrainingCode) -> values.Code:
    parameters = tuple((parameter.name, parameter.value) for parameter in code.parameters)
    max_restarts = code.max_restarts if code.HasField("max_restarts") else values.Code.max_restarts
    return values.Code(artifact_from_pb(code.artifact), code.entry, parameters, max_restarts)


def _data_to_pb(data: values.TrainingData) -> pb.TrainingData:
    return build(
        pb.TrainingData,
        dataset=dataset_to_pb(data.dataset) if data.dataset.is_given else None,
        validation=dataset_to_pb(data.validation) if data.validation else None,
        held_out=data.held_out,
        features=data.features,
        target=data.target,
        balanced=data.balanced,
    )


def _data_from_pb(data: pb.TrainingData) -> values.TrainingData:
    return values.TrainingData(
        dataset=dataset_from_pb(data.dataset),
        validation=dataset_from_pb(data.validation) if data.HasField("validation") else None,
        held_out=data.held_out,
        features=tuple(data.features),
        target=data.target,
        balanced=data.balanced,
    )


def _precision_from_pb(precision: pb.TrainingSpec.Precision) -> values.Precision:
    if precision not in {*pb.TrainingSpec.Precision.values()}:
        known = ", ".join(values.Precision)
        raise InvalidInputError(f"job: precision: expected one of {known}, got number {precision}")
    return values.Precision(pb.TrainingSpec.Precision.Name(precision)) if precision else values.Precision.FP32


def _parallelism_to_pb(parallelism: values.Parallelism) -> pb.Parallelism:
    return build(
        pb.Parallelism,
        data=parallelism.data,
        shard=parallelism.shard,
        tensor=parallelism.tensor,
        pipeline=parallelism.pipeline,
    )


def _parallelism_from_pb(parallelism: pb.Parallelism) -> values.Parallelism:
    ranks = parallelism.shard or 1, parallelism.tensor or 1, parallelism.pipeline or 1
    return values.Parallelism(parallelism.data, *ranks)


def _checkpoints_to_pb(checkpoints: values.Checkpoints) -> pb.Checkpoints:
    return build(
        pb.Checkpoints,
        every_steps=checkpoints.every_steps,
        every_s=checkpoints.every_s,
        keep_last=checkpoints.keep_last,
    )


def _checkpoints_from_pb(checkpoints: pb.Checkpoints) -> values.Checkpoints:
    keep_last = checkpoints.keep_last or values.Checkpoints.keep_last
    return values.Checkpoints(checkpoints.every_steps, checkpoints.every_s, keep_last)


def _objective_to_pb(objective: values.Objective) -> pb.Objective:
    return build(
        pb.Objective,
        metric=objective.metric,
        higher_is_better=objective.higher_is_better,
        patience=objective.patience,
        min_delta=objective.min_delta,
    )


def _objective_from_pb(objective: pb.Objective) -> values.Objective:
    metric = objective.metric or values.Objective.metric
    return values.Objective(metric, objective.higher_is_better, objective.patience, objective.min_delta)


def _release_to_pb(release: values.Release) -> pb.Release:
    return build(pb.Release, alias=release.alias, deploy=release.deploy, if_better=release.if_better)


def _release_from_pb(release: pb.Release) -> values.Release:
    return values.Release(release.alias, release.deploy, release.if_better)
