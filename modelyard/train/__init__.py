"""Training: recipes, and how they are run on one machine or many. See docs/training.md."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.train.data.recipe import TableRecipe
    from modelyard.train.local import LocalResult, run_local
    from modelyard.train.options import TrainingOptions
    from modelyard.train.recipe import Recipe

__all__ = ["LocalResult", "Recipe", "TableRecipe", "TrainingOptions", "run_local"]
_PLACES = {
    "LocalResult": "modelyard.train.local",
    "Recipe": "modelyard.train.recipe",
    "TableRecipe": "modelyard.train.data.recipe",
    "TrainingOptions": "modelyard.train.options",
    "run_local": "modelyard.train.local",
}


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the control process does without torch.
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
