"""What instances need, what is reserved, and what stands in the way."""

from __future__ import annotations

import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, InstanceOptions
from modelyard.reservation import Need, need_of
from modelyard_scheduler.load import Load, obstacle, selected, selector_text, unfit
from tests.unit.scheduler.simulation import GIB, deployment, on, worker

GPU, SHARED = Need(gpu=1), Need(shares_gpu=True)


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        (Need(cpu=9), "needs 9 cores, it has 8"),
        (Need(memory_bytes=65 * GIB), "needs 65 GiB of memory, it has 64 GiB"),
        (Need(gpu=2), "needs 2 GPUs, it has 0"),
        (SHARED, "needs 1 GPUs, it has 0"),
        (Need(cpu=8, memory_bytes=64 * GIB), ""),
    ],
)
def test_unfit_says_what_is_needed_and_what_is_there(need: Need, reason: str) -> None:
    assert unfit(need, worker("w")) == reason


def test_an_obstacle_is_what_is_free_now() -> None:
    load = Load({"w": worker("w")})
    load.add("w", Need(memory_bytes=60 * GIB))
    need = Need(memory_bytes=5 * GIB)
    assert obstacle(need, load.workers["w"], load) == "needs 5 GiB of memory, 4 GiB of 64 GiB are free"
    assert obstacle(Need(memory_bytes=4 * GIB), load.workers["w"], load) == ""
    load.add("w", Need(memory_bytes=60 * GIB), -1)
    assert obstacle(need, load.workers["w"], load) == ""


def test_gpus_that_are_stated_are_whole_and_the_others_share_one() -> None:
    load = Load({"w": worker("w", gpus=2)})
    host = load.workers["w"]
    load.add("w", GPU)
    load.add("w", SHARED)
    assert obstacle(SHARED, host, load) == ""
    assert obstacle(GPU, host, load) == "needs 1 GPUs, 0 of 2 are free"
    load.add("w", SHARED, -1)
    assert obstacle(GPU, host, load) == ""
    load.add("w", GPU)
    assert obstacle(SHARED, host, load) == "needs 1 GPUs, 0 of 2 are free"
    assert obstacle(Need(memory_bytes=GIB), host, load) == ""


@pytest.mark.parametrize(
    ("gpu", "device", "expected"),
    [(0, "", Need()), (2, "", Need(gpu=2)), (2, "cuda", Need(gpu=2)), (2, "cpu", Need()), (0, "cuda", SHARED)],
)
def test_options_say_whether_the_gpu_is_used(gpu: int, device: str, expected: Need) -> None:
    made = Deployment("m", "1", 1, Resources(gpu=gpu), "d", "onnx", options=InstanceOptions(device=device))
    assert need_of(made) == expected


def test_needs_in_words() -> None:
    assert str(Need(2, 3 * GIB, 1)) == "3 GiB, 2 cores, 1 GPUs"
    assert str(Need(0, 3 * GIB, 0, shares_gpu=True)) == "3 GiB, a shared GPU"
    assert str(need_of(deployment("m"))) == "1 GiB"


def test_who_is_selected() -> None:
    east = worker("a", zone="east", disk="ssd")
    assert selected(on(), east)
    assert selected(on("b", "a"), east)
    assert not selected(on("b"), east)
    assert selected(on("a", zone="east", disk="ssd"), east)
    assert not selected(on("a", zone="west"), east)
    assert not selected(on(rack="1"), east)
    assert selector_text(on("a", zone="east")) == "worker=a, zone=east"


def test_workers_that_drain_do_not_count_for_the_mean() -> None:
    need = Need(memory_bytes=GIB)
    load = Load({"a": worker("a", 10), "b": worker("b", 10, draining=True)})
    load.add("a", need)
    assert load.within_bound(load.workers["a"], need)
    load = Load({"a": worker("a", 10), "b": worker("b", 10)})
    load.add("a", need)
    assert not load.within_bound(load.workers["a"], need)
