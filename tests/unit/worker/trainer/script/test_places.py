"""Ranks of a script on workers, and what they are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.process import PARENT, REPORT
from modelyard_worker.trainer.script.places import Attempt, Place, places, variables

ATTEMPT = Attempt("job-1", ("10.0.0.1", 4000), 2, Path("/scratch/error.json"))
ALONE = Place(0, 1, 0, 1, 0, 1, ("cpu",))


def test_ranks_of_one_worker_follow_each_other() -> None:
    found = places(["w1/a", "w2/b", "w1/c", "w3/d"], ["cuda:1", "cuda:0", "cuda:0", "cuda:0"])
    assert [(p.rank, p.local_rank, p.local_world, p.group_rank) for p in found] == [
        (0, 0, 2, 0),
        (2, 0, 1, 1),
        (1, 1, 2, 0),
        (3, 0, 1, 2),
    ]
    assert {(p.world, p.group_world) for p in found} == {(4, 3)}
    assert [p.devices for p in found] == [("cuda:1", "cuda:0"), ("cuda:0",), ("cuda:1", "cuda:0"), ("cuda:0",)]


def test_the_variables_are_those_of_torchrun() -> None:
    place = Place(3, 4, 1, 2, 1, 2, ("cuda:0", "cuda:1"))
    assert variables(place, ATTEMPT, 5, {}) == {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "1",
        "GROUP_WORLD_SIZE": "2",
        "ROLE_RANK": "3",
        "ROLE_WORLD_SIZE": "4",
        "ROLE_NAME": "default",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "4000",
        "TORCHELASTIC_RESTART_COUNT": "2",
        "TORCHELASTIC_MAX_RESTARTS": "5",
        "TORCHELASTIC_RUN_ID": "job-1",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_ERROR_FILE": "/scratch/error.json",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "OMP_NUM_THREADS": "1",
    }


def test_what_was_set_remains_but_what_is_between_us_and_our_parent() -> None:
    environ = {PARENT: "1", REPORT: "5", "HOME": "/root", "OMP_NUM_THREADS": "4", "RANK": "9"}
    told = variables(ALONE, ATTEMPT, 3, environ)
    assert {PARENT, REPORT} & told.keys() == set()
    assert (told["HOME"], told["OMP_NUM_THREADS"], told["RANK"]) == ("/root", "4", "0")
    assert "OMP_NUM_THREADS" not in variables(ALONE, ATTEMPT, 3, {})


@pytest.mark.parametrize(
    ("devices", "seen", "visible"),
    [
        (("cpu",), "0,1", ""),
        (("cuda:1",), None, "1"),
        (("cuda:1", "cuda:0"), "GPU-a, GPU-b", "GPU-b,GPU-a"),
        (("cuda",), "7", "7"),
    ],
)
def test_a_rank_sees_the_gpus_of_its_worker(devices: tuple[str, ...], seen: str | None, visible: str) -> None:
    place = Place(0, 1, 0, len(devices), 0, 1, devices)
    environ = {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen}
    assert variables(place, ATTEMPT, 3, environ)["CUDA_VISIBLE_DEVICES"] == visible


def test_an_address_of_ipv6_has_no_brackets() -> None:
    attempt = Attempt("job-1", ("[::1]", 4000), 0, Path("e"))
    assert variables(ALONE, attempt, 3, {})["MASTER_ADDR"] == "::1"
