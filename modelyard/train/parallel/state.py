"""The state of a rank that has a part of the model."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from modelyard.train.dataset import Dataset
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.gathering import gather, parts_of, scatter
from modelyard.train.parallel.optimization import Groups, PartialOptimizer, groups_of
from modelyard.train.parallel.placement import Placement, place
from modelyard.train.recipe import Recipe
from modelyard.train.state import TrainingState


@dataclass
class PartialState(TrainingState):
    """Like a TrainingState, with parts of weights and of what the optimizer keeps; saved and loaded as a whole one.

    So a checkpoint of it is as one of a run on one process, and resumed on any grid.
    """

    _cuts: list[tuple[Placement, Groups]] = field(default_factory=list)

    @classmethod
    def cut(
        cls, recipe: Recipe, train: Dataset, options: TrainingOptions, grid: DeviceMesh, device: str = "cpu"
    ) -> PartialState:
        """Return this rank's part of the state before the first step.

        Raises:
            InvalidInputError: the model or the optimizer cannot be cut like that; and as TrainingState.new.
            RecipeError: the recipe's code raised.
        """
        cuts: list[tuple[Placement, Groups]] = []

        def placed(model: nn.Module) -> nn.Module:
            groups = groups_of(model, recipe.optimizer(model))  # while it is whole
            cuts.append((place(recipe, model, grid), groups))
            return cuts[0][0].module

        made = TrainingState.new(recipe, train, options, device, placed)
        state = cls(made.module, made.optimizer, made.scheduler, made.preprocessing, _cuts=cuts)
        state._partial_optimizer()
        return state

    @property
    def placement(self) -> Placement:
        """What this rank has of the model."""
        return self._cuts[0][0]

    def _partial_optimizer(self) -> PartialOptimizer:
        placement, groups = self._cuts[0]
        return PartialOptimizer(self.optimizer, placement, groups)

    def assemble(self) -> dict[str, Any]:
        """Return the whole state, copied to the CPU, on rank 0; on all others nothing. All ranks call it."""
        weights = gather(self.placement)
        best = gather(self.placement, self.best_weights) if self.best_weights else {}
        optimizer = self._partial_optimizer().gather()
        if not weights:
            return {}
        return {"module": weights, "optimizer": optimizer, "best_weights": best, **self._equal()}

    def state_dict(self) -> dict[str, Any]:
        """There is none of a part: `assemble` returns the whole."""
        raise RuntimeError("expected the state of all ranks, got that of one: assemble it")

    def _load_model(self, values: dict[str, Any]) -> None:
        scatter(self.placement, values["module"])
        self._partial_optimizer().scatter(copy.deepcopy(values["optimizer"]))
        best, here = values["best_weights"], self.module.state_dict()
        named = {name: best[known] for name, known in self.placement.names.items()} if best else {}
        self.best_weights = parts_of({name: here[name] for name in named}, named)


@dataclass
class WholeState(TrainingState):
    """The state of all ranks as it was, on rank 0: what is saved of it does not change any more.

    Attributes:
        values: that were assembled.
    """

    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, part: PartialState, values: dict[str, Any]) -> WholeState:
        """The state that was assembled when rank 0 had this part."""
        return cls(nn.Module(), part.optimizer, None, part.preprocessing, part.position, part.course, values=values)

    def state_dict(self) -> dict[str, Any]:
        """Return what was assembled."""
        return self.values


def restored(recipe: Recipe, values: dict[str, Any]) -> TrainingState:
    """Return a whole state, as a run on one process has it, on the CPU; without a scheduler."""
    module = recipe.model()
    state = TrainingState(module, recipe.optimizer(module))
    state.load_state_dict(values)
    return state
