"""Small modules that are exported."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Classifier(nn.Module):
    """With layers that behave otherwise in training; several outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(2 * 36, 3)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.linear(self.dropout(torch.relu(self.norm(self.convolution(image)))).flatten(1))
        return {"logits": found, "label": found.argmax(1)}


class Two(nn.Module):
    """Two inputs of different datatypes; one output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(7, 4)
        self.linear = nn.Linear(4 + 2, 1)

    def forward(self, tokens: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(torch.cat([self.embedding(tokens), numbers], 1))
        return found


class Branching(nn.Module):
    """Its course depends on values: no tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight if x.sum().item() > 0 else x - self.weight


class Unknown(nn.Module):
    """With an operator that ONNX does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> Any:
        return torch.special.bessel_j0(x) * self.weight
