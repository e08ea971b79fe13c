"""How stages of a model are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


class Given(nn.Module):
    """The model, as the last stage has it: its outputs are there already.

    Attributes:
        outputs: what it returns.
    """

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.outputs: Any = None

    def forward(self) -> Any:
        """Return the outputs."""
        return self.outputs


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return with which arguments a model is called: those that a dict names, those of a tuple, or a single one."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, tuple | list) else ((inputs,), {})
