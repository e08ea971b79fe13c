"""Exports in a process of their own: those that go wrong cost themselves alone."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.trained import Trained
from modelyard.train.position import Position
from modelyard_worker.trainer.exporting import EXPORT_S, Exported, Exporter
from tests.children import children

SOURCE = """
import os
import signal

from torch import nn


class Crashing(nn.Linear):
    def forward(self, input):
        print("about to go", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class Endless(nn.Linear):
    def forward(self, input):
        while True:
            pass


"""


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    """A directory with a user's module in it, which this process imports, too."""
    directory = tmp_path / "code"
    directory.mkdir()
    (directory / "users.py").write_text(SOURCE)
    path, writes = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(directory))
    sys.dont_write_bytecode = True
    yield directory
    sys.path[:] = path
    sys.dont_write_bytecode = writes
    sys.modules.pop("users", None)


async def exported(code: Path, module: nn.Module, limit_s: float = EXPORT_S) -> Exported:
    weights = module.state_dict()
    record = TrainingRecord(0, Position())
    trained = Trained(module, weights, weights, {"input": torch.randn(3, 2)}, record, {"labels.txt": b"a\n"})
    exporter = Exporter(code, asyncio.get_running_loop(), limit_s)
    return await asyncio.to_thread(exporter.export, trained, code.parent / "out")


def of_users(name: str) -> nn.Module:
    module: nn.Module = getattr(importlib.import_module("users"), name)(2, 1)
    return module


@pytest.mark.parametrize(
    ("name", "limit_s", "reason"),
    [
        ("Crashing", EXPORT_S, "its process ended: killed by SIGSEGV"),
        ("Endless", 2.0, "it took longer than 2 s"),
    ],
)
async def test_what_ends_the_process_is_a_reason(
    code: Path, capfd: pytest.CaptureFixture[str], name: str, limit_s: float, reason: str
) -> None:
    assert await exported(code, of_users(name), limit_s) == Exported(reasons={"export": reason})
    assert not children("modelyard.train.export")
    assert ("about to go" in capfd.readouterr().out) == (name == "Crashing")


async def test_what_cannot_be_handed_over_is_a_reason(code: Path) -> None:
    module = of_users("Endless")
    module.lock = threading.Lock()  # type: ignore[assignment] # a user's
    found = await exported(code, module)
    assert found.artifact is None
    assert "cannot be handed over: TypeError: cannot pickle '_thread.lock'" in found.reasons["export"]
