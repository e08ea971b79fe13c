from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from tests import models
from tests.suites import RunningSuite

Run = Callable[..., Any]
Say = Callable[..., str]
NAME = "cli-digits"


@pytest.fixture(autouse=True)
def versions(run: Run, tmp_path: Path) -> None:
    """Three versions; the third returns more classes."""
    for number, layers in enumerate(((64, 10), (64, 8, 10), (64, 8, 12)), 1):
        path = models.save(models.mlp(layers), tmp_path / "net.onnx")
        options = (f"--metric=accuracy=0.9{number}", "--parent", str(number - 1) if number > 1 else "")
        run("push", NAME, str(path), *options, "--label", "team=a", "--dataset", "mnist", "--licence", "MIT")


def test_lineage_and_metrics_are_kept_and_shown(run: Run, say: Say) -> None:
    version = run("show", f"{NAME}@2")["versions"][0]
    assert version["lineage"] == {"parent_version": f"{NAME}@1", "job": "", "dataset": "mnist"}
    assert version["metrics"] == {"accuracy": 0.92}
    shown = say("show", f"{NAME}@2")
    for line in (
        f"parent: {NAME}@1",
        "dataset: mnist",
        "metrics: accuracy=0.92",
        f"manifest: {version['manifest_digest']}",
    ):
        assert line in shown.splitlines()
    assert "signature: in x: FP32 [-1, 64]\nout y: FP32 [-1, 10]" in shown
    found = run("models", "--filter", f'name = {NAME} lineage.parent_version = "{NAME}@1"')
    assert [f["version"]["version"] for f in found] == ["2"]
    found = run("models", NAME, "--filter", "")
    assert [f["version"]["version"] for f in found] == ["3", "2", "1"], "an empty filter finds every version"


def test_an_alias_that_breaks_its_callers_must_be_forced(run: Run, say: Say, fail: Say) -> None:
    assert say("alias", NAME, "prod", "1") == f"{NAME}@prod is {NAME}@1"
    assert say("alias", NAME, "prod", "2") == f"{NAME}@prod is {NAME}@2"
    refusal = fail("alias", NAME, "prod", "3")
    assert "breaks callers" in refusal
    assert "FP32 [-1, 12]" in refusal
    assert "force" in refusal
    assert say("alias", NAME, "prod", "3", "--force") == f"{NAME}@prod is {NAME}@3"
    assert say("rollback", f"{NAME}@prod") == f"{NAME}@prod is {NAME}@2 again"
    assert run("rollback", f"{NAME}@prod")["version"] == "1"
    moves = [(c["from_version"], c["to_version"], c["rollback"], c["tenant"]) for c in run("history", f"{NAME}@prod")]
    assert moves == [
        ("2", "1", True, "default"),
        ("3", "2", True, "default"),
        ("2", "3", False, "default"),
        ("1", "2", False, "default"),
        ("", "1", False, "default"),
    ]
    assert [line.split(" prod ")[1] for line in say("history", NAME).splitlines()[-2:]] == ["1 → 2", "- → 1 created"]
    assert fail("rollback", f"{NAME}@prod").startswith(f"{NAME}@prod: it pointed at nothing before")
    assert fail("rollback", f"{NAME}@absent") == f"model {NAME!r}: no alias 'absent'"
    assert "no alias 'absent'" in fail("history", f"{NAME}@absent")
    assert fail("alias", NAME, "prod", "9").startswith(f"model {NAME!r}: no version or alias '9'")
    assert fail("alias", NAME, "2", "1").endswith("expected an alias, but a version has that name")


def test_a_push_says_what_became_of_its_version(run: Run, fail: Say, tmp_path: Path) -> None:
    run("alias", NAME, "prod", "1")
    net = str(tmp_path / "net.onnx")
    assert fail("push", NAME, net, "--alias", "prod").startswith(f"{NAME}@4 is published, but: {NAME}@prod: version 4")
    assert fail("push", NAME, net, "--alias", "2").endswith("expected an alias, but a version has that name")
    assert [v["version"] for v in run("show", NAME)["versions"]] == ["1", "2", "3", "4"]


def test_two_versions_are_set_side_by_side(run: Run, say: Say, fail: Say) -> None:
    assert run("diff", f"{NAME}@1", f"{NAME}@2")["compatibility"] == "SAME"
    found = run("diff", f"{NAME}@2", NAME)
    assert found["compatibility"] == "BREAKING"
    assert found["differences"] == ["output 'y': expected FP32 [-1, 10], got FP32 [-1, 12] (breaking)"]
    assert [f["path"] for f in found["files"]] == ["net.onnx"]
    shown = say("diff", f"{NAME}@2", f"{NAME}@3").splitlines()
    assert shown[0] == f"{NAME}@2 → {NAME}@3: BREAKING, its callers cannot call the other"
    assert "accuracy 0.92 0.93 (+0.01)" in shown
    assert fail("diff", NAME, f"{NAME}@9").startswith(f"model {NAME!r}: no version or alias '9'")


def test_what_two_versions_share_is_counted(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    models.external(source)
    blob = np.random.default_rng(1).bytes(2 * CHUNK_SIZE_BYTES)
    for content in (blob, blob + b"more"):
        (source / "blob.bin").write_bytes(content)
        run("push", NAME, str(source))
    assert run("diff", f"{NAME}@4", f"{NAME}@5")["files"] == [
        {
            "path": "blob.bin",
            "base_size_bytes": len(blob),
            "other_size_bytes": len(blob) + 4,
            "shared_bytes": len(blob),
        }
    ]


def test_deleted_versions_come_back_unless_they_are_purged(run: Run, say: Say, fail: Say) -> None:
    assert run("rm", f"{NAME}@1")["purged"] is False
    assert [v["version"] for v in run("show", NAME)["versions"]] == ["2", "3"]
    assert "state: DELETED, can be brought back until" in say("show", f"{NAME}@1")
    assert fail("alias", NAME, "prod", "1").startswith(f"{NAME}@1: it is deleted; undelete it before")
    assert say("undelete", f"{NAME}@1") == f"{NAME}@1 is back"
    run("alias", NAME, "prod", "1")
    assert fail("rm", f"{NAME}@1") == f"{NAME}@1: the alias 'prod' names it; move or delete that first"
    assert fail("rm", f"{NAME}@prod") == f"model {NAME!r}: expected a version, got the alias 'prod'"
    assert say("rm", f"{NAME}@2", "--purge") == f"purged {NAME}@2"
    assert "no version or alias '2'" in fail("undelete", f"{NAME}@2")


def test_a_deleted_model_comes_back_with_all_that_it_had(run: Run, say: Say, fail: Say, tmp_path: Path) -> None:
    run("alias", NAME, "prod", "2")
    assert say("rm", NAME).startswith(f"deleted {NAME}; until ")
    assert NAME not in {m["name"] for m in run("models")}
    assert run("models", NAME, "--deleted")[0]["state"] == "DELETED"
    assert "it is deleted" in fail("push", NAME, str(tmp_path / "net.onnx"))
    assert say("undelete", NAME) == f"{NAME} is back"
    assert run("show", f"{NAME}@prod")["versions"][0]["version"] == "2"


def test_what_is_said_of_models_and_versions_can_be_changed(run: Run, fail: Say) -> None:
    changed = run("update", NAME, "--description", "reads digits", "--label", "stage=dev", "--keep-last", "5")
    assert (changed["description"], changed["keep_last"], changed["licence"]) == ("reads digits", 5, "MIT")
    assert changed["labels"] == {"stage": "dev", "team": "a"}
    changed = run("update", f"{NAME}@2", "--metric", "loss=0.5", "--drop-metric", "accuracy", "--drop-label", "team")
    assert (changed["metrics"], changed["labels"]) == ({"loss": 0.5}, {})
    assert "label name 'a b'" in fail("update", NAME, "--label", "a b=1")
    assert "not registered" in fail("update", "cli-absent", "--licence", "MIT")


def test_only_the_last_versions_are_kept(run: Run, say: Say) -> None:
    run("alias", NAME, "prod", "1")
    run("update", NAME, "--keep-last", "1")
    assert [v["version"] for v in run("show", NAME)["versions"]] == ["1", "3"]
    listed = {v["version"]: v["state"] for v in run("show", NAME, "--deleted")["versions"]}
    assert listed == {"1": "ACTIVE", "2": "DELETED", "3": "ACTIVE"}
    assert "keeps: the last version" in say("show", NAME)


def test_a_file_is_read_in_part(run: Run, fail: Say, running_suite: RunningSuite, tmp_path: Path) -> None:
    content = (tmp_path / "net.onnx").read_bytes()
    done = start(running_suite, "cat", NAME, "net.onnx").communicate(timeout=60)
    assert done == (content, b"")
    part = run("cat", f"{NAME}@3", "net.onnx", "--offset", "100", "--length", "50")
    assert base64.b64decode(part["base64"]) == content[100:150]
    assert "absent.bin" in fail("cat", NAME, "absent.bin")


def test_bytes_that_nothing_refers_to_go(run: Run, say: Say, tmp_path: Path) -> None:
    path = models.save(models.mlp((64, 33, 10), seed=int.from_bytes(os.urandom(4), "big")), tmp_path / "other.onnx")
    run("push", "cli-other", str(path))
    run("rm", "cli-other", "--purge")
    would = run("gc", "--dry-run")
    assert would["removed_bytes"] >= path.stat().st_size
    assert run("gc") == would
    assert say("gc").startswith("removed 0 chunks (0 B), kept ")
    assert run("pull", NAME, str(tmp_path / "copy"))["version"] == "3", "what is published stays"


def start(suite: RunningSuite, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "modelyard", *arguments, "--address", suite.address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_changes_are_told_as_they_come(run: Run, running_suite: RunningSuite) -> None:
    watching = start(running_suite, "watch", NAME, "--json")
    assert watching.stdout is not None
    told = (json.loads(line) for line in watching.stdout)
    there = []
    while (event := next(told))["kind"] != "SYNCED":
        there.append(event)
    assert [e["resource"]["version"] for e in there if e["type"] == "version"] == ["1", "2", "3"]
    run("alias", NAME, "prod", "1")
    while (event := next(told))["type"] != "alias":
        continue
    assert (event["kind"], event["model"], event["resource"]["version"]) == ("PUT", NAME, "1")
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 130
    assert watching.stderr is not None
    assert watching.stderr.read() == b""
