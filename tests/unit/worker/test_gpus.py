"""Which GPU an instance is loaded onto."""

from __future__ import annotations

import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import InstanceOptions, Placement
from modelyard_worker.gpus import Gpus


def placement(device: str = "", gpu: int = 0) -> Placement:
    return Placement("m", "1", "w0", "digest", "onnx", Resources(gpu=gpu), 1, InstanceOptions(device=device, threads=3))


def assigned(gpus: Gpus, device: str = "", gpu: int = 0) -> str:
    return gpus.assign(placement(device, gpu)).options.device


@pytest.mark.parametrize(("device", "gpu"), [("cuda", 0), ("", 1)])
def test_instances_are_spread_over_the_gpus(device: str, gpu: int) -> None:
    gpus = Gpus(["cuda:0", "cuda:1"])
    assert [assigned(gpus, device, gpu) for _ in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


def test_one_that_was_given_back_is_the_next() -> None:
    gpus = Gpus(["cuda:0", "cuda:1", "cuda:2"])
    taken = [gpus.assign(placement("cuda")) for _ in range(3)]
    gpus.give_back(taken[1])
    assert assigned(gpus, "cuda") == "cuda:1"


def test_one_that_is_named_counts_as_taken() -> None:
    gpus = Gpus(["cuda:0", "cuda:1"])
    assert assigned(gpus, "cuda:0") == "cuda:0"
    assert assigned(gpus, "cuda") == "cuda:1"


def test_on_the_cpu_nothing_is_taken() -> None:
    gpus = Gpus(["cuda:0", "cuda:1"])
    for device in ("", "cpu"):
        given = gpus.assign(placement(device))
        assert given.options == InstanceOptions(device="cpu", threads=3)
        gpus.give_back(given)
    assert assigned(gpus, "cuda") == "cuda:0"


def test_where_there_is_none_the_runner_will_say_so() -> None:
    assert assigned(Gpus(), "", 1) == "cuda"
