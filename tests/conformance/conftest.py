"""Fixtures: two models that clients of other makes call, on the shared suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelyard import Client
from modelyard.deployment import InstanceOptions
from tests.models import concat_strings, mlp, save
from tests.suites import RunningSuite

MAX_BATCH_SIZE = 128


@dataclass(frozen=True)
class Served:
    """A front door, and the models behind it."""

    address: str
    digits: str
    """x FP32 [-1, 64] -> y FP32 [-1, 10], deployed twice, batched."""

    digits_file: Path
    strings: str
    """a, b BYTES [-1] -> c BYTES [-1], deployed once."""

    idle: str
    """Registered, not deployed."""


@pytest.fixture(scope="module")
def served(running_suite: RunningSuite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Models for one module of tests; they are taken out of the suite again."""
    directory = tmp_path_factory.mktemp("models")
    digits, strings = save(mlp(), directory / "digits.onnx"), save(concat_strings(), directory / "strings.onnx")
    found = Served(running_suite.address, "conformance-digits", digits, "conformance-strings", "conformance-idle")
    with Client(found.address) as client:
        client.push(found.digits, digits)
        client.push(found.strings, strings)
        client.push(found.idle, digits)
        client.deploy(found.digits, replicas=2, options=InstanceOptions(max_batch_size=MAX_BATCH_SIZE))
        client.deploy(found.strings)
        yield found
        for name in (found.digits, found.strings):
            client.undeploy(name)
        for name in (found.digits, found.strings, found.idle):
            client.delete_model(name, purge=True)
