from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelyard.cli.deployments import how, summary
from modelyard.deployment import InstanceOptions, Selector
from modelyard.results import DeploymentStatus
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


def test_deploy(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    assert run("deploy", "digits") == "digits@1: 1 of 1 READY on worker-0\n"
    fakes.scheduler.states = [("LOADING", "")]
    assert run_json("deploy", "digits@1", "--no-wait", "--replicas", "2")["replicas"] == 2
    fakes.scheduler.states = [("FAILED", "out of\nmemory")]
    assert fail("deploy", "digits") == "error: digits@1 failed to load on worker-0: out of memory\n"


def test_deployments_workers_undeploy(run: Run, run_json: Callable[..., Any]) -> None:
    assert "worker-0 READY 256 MiB" in run("deployments")
    assert run_json("deployments")[0]["instances"][0]["state"] == "READY"
    assert "8 GiB" in run("workers")
    assert "draining" in run("workers")
    assert run_json("workers")[0]["placements"] == ["digits@1"]
    assert run("undeploy", "digits") == "undeployed digits@1\n"


def test_why_and_logs(run: Run, run_json: Callable[..., Any]) -> None:
    assert run("why", "digits") == "no worker has 2 GiB free\n"
    assert run("logs", "digits") == "".join(f"==> worker-{n} digits@1 <==\nloading\nloaded\n" for n in (0, 1))
    assert run_json("logs", "digits")[1] == {"worker": "worker-1", "version": "1", "data": "loading\nloaded\n"}


def test_deploy_with_all_that_can_be_said(fakes: FakeSuite, run: Run, run_json: Callable[..., Any]) -> None:
    arguments = """--threads 2 --device cuda --precision fp16 --copies 2 --runner shared --warm-up 1 --warm-up 8
        --max-batch-size 8 --max-queue-delay-us 500 --preferred-batch-size 4 --max-queue-size 10
        --on worker=worker-0 --on worker=worker-1 --on label=zone=a=b --on-demand --idle-s 30 --replace"""
    status = run_json("deploy", "digits@2", *arguments.split())
    assert status["options"] == {
        "threads": 2,
        "device": "cuda",
        "precision": "fp16",
        "copies": 2,
        "runner": "shared",
        "warm_up_batch_sizes": [1, 8],
        "max_batch_size": 8,
        "max_queue_delay_us": 500,
        "preferred_batch_sizes": [4],
        "max_queue_size": 10,
    }
    assert status["on"] == {"workers": ["worker-0", "worker-1"], "labels": [["zone", "a=b"]]}
    assert (status["on_demand"], status["idle_s"], fakes.scheduler.ordered.replace) == (True, 30, True)


@pytest.mark.parametrize("text", ["worker-0", "worker=", "label=", "label=zone", "label==a", "zone=a"])
def test_a_selector_that_is_none(fail: Run, text: str) -> None:
    message = f"error: --on: expected worker=NAME or label=KEY=VALUE, got {text!r}\n"
    assert fail("deploy", "digits", "--on", text) == message


def test_what_is_said_is_listed_and_what_is_default_is_not() -> None:
    plain = DeploymentStatus("digits", "1", 1, 0)
    assert how(plain) == ""
    assert summary(replace(plain, on_demand=True)) == "digits@1: loaded at its first call"
    said = replace(
        plain,
        options=InstanceOptions(threads=2, warm_up_batch_sizes=(1, 8)),
        on=Selector(("w",), (("zone", "a"),)),
        on_demand=True,
        idle_s=30.0,
        replaces=("0",),
    )
    assert how(said).splitlines() == [
        "on demand until idle for 30 s",
        "on worker=w",
        "on zone=a",
        "replaces 0",
        "threads=2",
        "warm_up_batch_sizes=1,8",
    ]
