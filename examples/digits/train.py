"""Train the 64-128-128-10 classifier on scikit-learn's handwritten digits and export it to ONNX."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images of 8x8 pixels in [0, 1] as rows of 64, and their labels; a fifth of them is held out."""

    train_x: Floats
    train_y: Labels
    test_x: Floats
    test_y: Labels


def load(seed: int = 0) -> Digits:
    """Return the 1,797 digits, split."""
    x, y = load_digits(return_X_y=True)
    pixels = (x / 16.0).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(pixels, y, test_size=0.2, random_state=seed, stratify=y)
    return Digits(train_x, train_y, test_x, test_y)


def train(digits: Digits, epochs: int = 30, seed: int = 0) -> nn.Module:
    """Minimise the cross-entropy with Adam; return the trained network."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    x, y = torch.from_numpy(digits.train_x), torch.from_numpy(digits.train_y)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    return network.eval()


def export(network: nn.Module, path: Path) -> None:
    """Write the network as ONNX: input `x` FP32 [batch, 64], output `logits` FP32 [batch, 10]."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 64),),
            path,
            input_names=["x"],
            output_names=["logits"],
            dynamic_shapes={"input": {0: torch.export.Dim("batch")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
