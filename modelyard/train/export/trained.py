"""What training has left, as it is exported. To import it costs none of the exporters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.values import Inputs

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Trained:
    """What training has left.

    Attributes:
        module: any of its kind: it gets the weights. Neither wrapped nor sharded.
        last: its weights and buffers (state_dict), whole.
        best: those to be served.
        rows: that were not trained on, two or more: what is exported is compared on them.
        record: how it was made.
        companions: files that travel along, by path.
    """

    module: nn.Module
    last: Weights
    best: Weights
    rows: Inputs
    record: TrainingRecord
    companions: Mapping[str, bytes] = field(default_factory=dict)
