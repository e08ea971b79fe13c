"""The state of a rank that has a part of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from modelyard.errors import InvalidInputError
from modelyard.train.checkpoint.structure import take_apart
from modelyard.train.dataset import Dataset
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.gathering import gather, part_of
from modelyard.train.parallel.optimization import Groups, PartialOptimizer, groups_of
from modelyard.train.parallel.placement import Placement, place
from modelyard.train.recipe import Recipe
from modelyard.train.state import TrainingState

_CUT = ("module/", "best_weights/", "optimizer/state/")
_OF_PARAMETER = 3
"""So many steps of a key name a parameter of the optimizer's: optimizer, state, its number."""


@dataclass
class PartialState(TrainingState):
    """Like a TrainingState, with parts of weights and of what the optimizer keeps, named as the whole one names them.

    So a checkpoint that all ranks save is as one of a run on one process, and resumed on any grid.
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

    def whole(self, recipe: Recipe) -> TrainingState | None:
        """Return what came of training, on rank 0: all weights, on the CPU, without what the optimizer and the
        scheduler keep; None on all others. All ranks call it.
        """
        weights = gather(self.placement)
        best = gather(self.placement, self.best_weights) if self.best_weights else {}
        if not weights:
            return None
        module = recipe.model()
        module.load_state_dict(weights)
        return TrainingState(module, self.optimizer, None, self.preprocessing, self.position, self.course, best)

    def state_dict(self) -> dict[str, Any]:
        """Return this rank's part: DTensors where the whole is cut."""
        return {
            "module": self.placement.known(self.module.state_dict()),
            "optimizer": self._partial_optimizer().state_dict(),
            "best_weights": self.placement.known(self.best_weights),
            **self._equal(),
        }

    @cached_property
    def _likes(self) -> dict[str, torch.Tensor]:
        """As what tensors are cut, by the beginnings of their keys in a checkpoint."""
        weights = self.placement.known(self.module.state_dict())
        parameters = self._partial_optimizer().parameters()
        said = {"module": weights, "best_weights": weights, "optimizer": {"state": parameters}}
        return take_apart(said)[0]

    def destination(self, key: str, like: torch.Tensor) -> torch.Tensor | None:
        """Return where a tensor of a checkpoint is read to, of which this rank may have a part; None: it has none.

        Raises:
            InvalidInputError: it has another shape than this recipe's.
        """
        begins = "/".join(key.split("/")[:_OF_PARAMETER]) if key.startswith("optimizer/state/") else key
        if begins in self._likes:
            found = self._likes[begins].detach()
            return part_of(key, like, found, "cpu" if key.startswith("best_weights/") else found.device)
        return None if key.startswith(_CUT) else super().destination(key, like)

    def _load_model(self, values: dict[str, Any]) -> None:
        best = values["best_weights"]
        if unknown := values["module"].keys() - set(self.placement.order):
            raise InvalidInputError(f"weights: expected those of this recipe's model, got {min(unknown)}")
        self.module.load_state_dict(self.placement.own(values["module"]))
        self._partial_optimizer().load_state_dict(values["optimizer"])
        self.best_weights = self.placement.own(best) if best else {}
