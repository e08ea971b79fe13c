"""All that makes two ranks equal."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from modelyard.errors import InvalidInputError
from modelyard.train.course import Course
from modelyard.train.dataset import Dataset
from modelyard.train.failure import of_recipe
from modelyard.train.options import TrainingOptions
from modelyard.train.position import Position
from modelyard.train.randomness import seed
from modelyard.train.recipe import Recipe


@dataclass
class TrainingState:
    """What is trained, and how far it is. Random numbers are no part of it: they are seeded at every step.

    Attributes:
        module: with parameters and buffers.
        scheduler: None: the recipe has none.
        preprocessing: what the recipe fitted to the data; empty: nothing.
        position: what was counted.
        course: what came of it so far.
        best_weights: the module's state_dict after the best epoch, on the CPU; empty: there is none.
    """

    module: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    preprocessing: bytes = b""
    position: Position = field(default_factory=Position)
    course: Course = field(default_factory=Course)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        recipe: Recipe,
        train: Dataset,
        options: TrainingOptions,
        device: str = "cpu",
        place: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> TrainingState:
        """Return the state before the first step: bit for bit the same in every process.

        Args:
            recipe: what is trained.
            train: what it is trained on.
            options: seed and length.
            device: where.
            place: returns what this process has of the model, which the optimizer is made of.

        Raises:
            InvalidInputError: there are no samples, or the recipe refuses them.
            RecipeError: its code raised.
        """
        if len(train) == 0:
            raise InvalidInputError("expected samples to train on, got a dataset of none")
        with of_recipe("before the first step"):
            if torch.device(device).type == "cuda":
                torch.cuda.init()  # type: ignore[no-untyped-call] # so that it is seeded
            seed("model", options.seed)
            recipe.prepare(train)
            module = place(recipe.model().to(device))
            optimizer = recipe.optimizer(module)
            scheduler = recipe.scheduler(optimizer, options.total_steps(len(train)))
            return cls(module, optimizer, scheduler, recipe.preprocessing())

    @property
    def progress(self) -> tuple[int, int]:
        """Steps that were applied, and those after which was evaluated: of two states of a run, the larger is later."""
        return self.position.step, self.course.evaluated

    def keep_best(self) -> None:
        """Copy the weights as the best ones."""
        weights = self.module.state_dict()
        self.best_weights = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return it as dicts and lists of tensors, numbers, texts and None.

        The tensors are those that are trained: copy them if you keep them over the next step.
        """
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": dict(self.best_weights),
            **self._equal(),
        }

    def _equal(self) -> dict[str, Any]:
        """What is the same on all ranks, however the model is shared."""
        return {
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "preprocessing": torch.from_numpy(np.array(bytearray(self.preprocessing), dtype=np.uint8)),
            "position": dataclasses.asdict(self.position),
            "course": self.course.to_json(),
        }

    def destination(self, key: str, like: torch.Tensor) -> torch.Tensor | None:
        """Return where a tensor of a checkpoint is read to that this becomes: here all of it, on the CPU.

        Args:
            key: of it (train.checkpoint.structure).
            like: one of its shape and datatype, without memory.
        """
        del key
        return torch.empty_like(like, device="cpu")

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Become the state that another's `state_dict` returned; parameters remain the objects that they are.

        Raises:
            InvalidInputError: it is of another recipe.
        """
        try:
            self._load_model(values)
            if self.scheduler is not None:
                self.scheduler.load_state_dict(values["scheduler"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InvalidInputError(
                f"expected the state of this recipe's model and optimizer: {reason:.300}"
            ) from error
        self.preprocessing = values["preprocessing"].cpu().numpy().tobytes()
        self.position = Position(**values["position"])
        self.course = Course.from_json(values["course"])

    def _load_model(self, values: dict[str, Any]) -> None:
        self.module.load_state_dict(values["module"])
        self.optimizer.load_state_dict(copy.deepcopy(values["optimizer"]))  # it keeps what it is given
        self.best_weights = dict(values["best_weights"])
