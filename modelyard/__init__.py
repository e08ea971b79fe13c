"""Modelyard: a self-hosted Model-as-a-Service. `Client` is the way in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.client import Client
    from modelyard.datasets.image_options import ImageOptions
    from modelyard.deployment import InstanceOptions, Selector
    from modelyard.sdk.jobs.options import JobOptions
    from modelyard.sdk.jobs.training_options import TrainingJobOptions

__version__ = "0.1.0"
__all__ = ["Client", "ImageOptions", "InstanceOptions", "JobOptions", "Selector", "TrainingJobOptions", "__version__"]
_PLACES = {
    "Client": "modelyard.client",
    "ImageOptions": "modelyard.datasets.image_options",
    "InstanceOptions": "modelyard.deployment",
    "JobOptions": "modelyard.sdk.jobs.options",
    "Selector": "modelyard.deployment",
    "TrainingJobOptions": "modelyard.sdk.jobs.training_options",
}


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the services, and programs as small as modelyard.bound, do without it.
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
