"""A model as stages of a pipeline."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from modelyard.errors import InvalidInputError


@runtime_checkable
class PipelineSplit(Protocol):
    """A recipe that says how its model is cut into stages."""

    def pipeline_split(self, model: nn.Module, stages: int) -> Sequence[nn.Module]:
        """Return modules of which each gets what the one before returns, and that are the model together."""
        ...


def split(recipe: object, model: nn.Module, stages: int) -> list[nn.Module]:
    """Return the stages of a model, by the recipe's `pipeline_split`, or of an nn.Sequential by its layers' sizes.

    Raises:
        InvalidInputError: the recipe has no split and the model is no nn.Sequential with as many layers; or the split
            has not as many stages, or lacks a parameter, or has it in two stages.
    """
    said = recipe.pipeline_split(model, stages) if isinstance(recipe, PipelineSplit) else None
    parts = list(_default(model, stages) if said is None else said)
    if len(parts) != stages:
        raise InvalidInputError(f"pipeline_split: expected {stages} stages, got {len(parts)}")
    _check_whole(model, parts)
    return parts


def names(model: nn.Module, stage: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return how the model names the parameters and buffers of a stage, by the stage's own names.

    What is tied has several names.
    """
    known: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        known.setdefault(id(tensor), []).append(name)
    return {name: tuple(known[id(tensor)]) for name, tensor in stage.state_dict(keep_vars=True).items()}


def _default(model: nn.Module, stages: int) -> list[nn.Module]:
    layers = list(model.named_children()) if isinstance(model, nn.Sequential) else []
    if len(layers) < stages:
        raise InvalidInputError(
            f"pipeline {stages}: expected a recipe with pipeline_split(model, stages), or an nn.Sequential of at least "
            f"{stages} layers; got {type(model).__name__} of {len(layers)}"
        )
    sizes = [sum(parameter.numel() for parameter in layer.parameters()) for _, layer in layers]
    ends = _ends(sizes, stages)
    begins = [0, *ends[:-1]]
    return [nn.Sequential(OrderedDict(layers[begin:end])) for begin, end in zip(begins, ends, strict=True)]


def _ends(sizes: Sequence[int], stages: int) -> list[int]:
    """Where each stage ends: nearest to its share of all sizes, with a layer left for each of the others."""
    sums = [0, *itertools.accumulate(sizes)]
    ends: list[int] = []
    for stage in range(1, stages):
        first = ends[-1] + 1 if ends else 1
        possible = range(first, len(sizes) - (stages - stage) + 1)
        ends.append(min(possible, key=lambda end, stage=stage: abs(sums[end] - sums[-1] * stage / stages)))  # type: ignore[misc]
    return [*ends, len(sizes)]


def _check_whole(model: nn.Module, parts: Sequence[nn.Module]) -> None:
    found = [id(parameter) for part in parts for parameter in part.parameters()]
    if len({*found}) < len(found):
        raise InvalidInputError("pipeline_split: expected each parameter in one stage, got one in two of them")
    missing = [name for name, parameter in model.named_parameters() if id(parameter) not in {*found}]
    if missing:
        raise InvalidInputError(f"pipeline_split: expected all parameters, {missing[0]} is in no stage")
