from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


def test_deploy(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    assert run("deploy", "digits") == "digits@1: 1 of 1 READY on worker-0\n"
    fakes.scheduler.states = [("LOADING", "")]
    assert run_json("deploy", "digits@1", "--no-wait", "--replicas", "2")["replicas"] == 2
    fakes.scheduler.states = [("FAILED", "out of\nmemory")]
    assert fail("deploy", "digits") == "error: digits@1 failed to load on worker-0: out of memory\n"


def test_deployments_workers_undeploy(run: Run, run_json: Callable[..., Any]) -> None:
    assert "worker-0 READY" in run("deployments")
    assert run_json("deployments")[0]["instances"][0]["state"] == "READY"
    assert "8 GiB" in run("workers")
    assert run_json("workers")[0]["placements"] == ["digits@1"]
    assert run("undeploy", "digits") == "undeployed digits@1\n"


def test_why_and_logs(run: Run, run_json: Callable[..., Any]) -> None:
    assert run("why", "digits") == "no worker has 2 GiB free\n"
    assert run("logs", "digits") == "".join(f"==> worker-{n} digits@1 <==\nloading\nloaded\n" for n in (0, 1))
    assert run_json("logs", "digits")[1] == {"worker": "worker-1", "version": "1", "data": "loading\nloaded\n"}
