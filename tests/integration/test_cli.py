from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modelyard import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.results import Progress
from tests import models
from tests.suites import RunningSuite

Run = Callable[..., Any]
Say = Callable[..., str]
NAME = "cli-sum"


def test_a_models_life_on_the_command_line(run: Run, fail: Say, tmp_path: Path) -> None:
    path = models.save(models.sum_and_difference(), tmp_path / "net.onnx")
    assert run("push", NAME, str(path), "--alias", "prod", "--label", "team=a")["version"] == "1"
    assert [v["signature"]["inputs"][0]["name"] for v in run("show", NAME)["versions"]] == ["a"]
    assert run("deploy", f"{NAME}@prod", "--replicas", "2")["ready_replicas"] == 2
    assert {i["state"] for d in run("deployments") if d["model"] == NAME for i in d["instances"]} == {"READY"}
    assert all(f"{NAME}@1" in worker["placements"] for worker in run("workers"))

    rows = np.arange(32, dtype=np.int32).reshape(2, 16)
    np.save(tmp_path / "a.npy", rows)
    ones = json.dumps(np.ones((2, 16), int).tolist())
    answer = run("infer", NAME, "--input", f"a=@{tmp_path / 'a.npy'}", "--input", f"b={ones}")
    assert answer["outputs"]["sum"] == {"datatype": "INT32", "shape": [2, 16], "data": (rows + 1).tolist()}
    assert answer["worker"].startswith("worker-")
    assert any("READY" in finding for finding in run("why", NAME)["findings"])
    assert isinstance(run("logs", NAME), list)

    assert "deployed; undeploy it first" in fail("rm", NAME)
    assert "deployed; undeploy it first" in fail("rm", f"{NAME}@1", "--purge")
    assert run("undeploy", NAME)["versions"] == ["1"]
    assert run("alias", NAME, "prod", "--delete")
    assert run("rm", NAME)["deleted"] == NAME
    assert NAME not in {model["name"] for model in run("models")}
    assert "it is deleted; undelete it before" in fail("deploy", NAME)


def test_files_come_back_as_they_went(run: Run, running_suite: RunningSuite, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    models.external(source)
    (source / "blob.bin").write_bytes(np.random.default_rng(0).bytes(2 * CHUNK_SIZE_BYTES + 5))
    progress: list[Progress] = []
    with Client(running_suite.address) as client:
        client.push("cli-files", source, progress=progress.append)
        total = progress[-1].done_bytes
        assert total == progress[-1].total_bytes == sum(f.stat().st_size for f in source.iterdir())
        client.push("cli-files", source, progress=progress.append)
        assert progress[-1] == Progress("send", 0, 0, present_bytes=total)
        client.pull("cli-files", tmp_path / "copy")
    for file in source.iterdir():
        assert (tmp_path / "copy" / file.name).read_bytes() == file.read_bytes()


def test_a_file_that_is_no_model_leaves_nothing(run: Run, fail: Say, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    assert fail("push", "cli-bad", str(path)) == "bad.onnx: expected an ONNX model, got something that is not ONNX"
    assert run("models", "cli-bad", "--deleted") == []
    models.save(models.mlp((4, 2)), path)
    assert run("push", "cli-bad", str(path))["version"] == "1", "the name is free for one that is"
