"""A job that runs a script, through the API of a running suite: one of its processes is killed, and a version comes."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.jobs.states import ENDED, JobState
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from tests.integration.serving.conftest import TIMEOUT_S, Workbench, bench, client
from tests.waiting import eventually

__all__ = ["bench", "client"]
NAME = "scripted-numbers"
pytestmark = pytest.mark.timeout(300)
SCRIPT = """
import os, json, sys, time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

gate = Path(sys.argv[1].removeprefix("--gate="))
rank, count = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
(gate / f"{rank}-{count}").write_text(str(os.getpid()))
while not (gate / "open").exists():
    time.sleep(0.02)
print(f"rank {rank} of {os.environ['WORLD_SIZE']}, start {count}")
if rank == 0:
    rows = np.loadtxt(Path(os.environ["MODELYARD_DATA"]) / "rows.csv", skiprows=1)
    output = Path(os.environ["MODELYARD_OUTPUT"])
    save_file({"mean": rows.mean(keepdims=True)}, output / "model.safetensors")
    (output / "metrics.json").write_text(json.dumps({"rows": len(rows)}))
"""


def pid_of(path: Path) -> int:
    """The process that has said so there; 0: not yet."""
    return int((path.exists() and path.read_text()) or 0)


async def has_ended(client: Client, job: str) -> bool:
    return (await client.jobs.get(job)).state in ENDED


async def test_a_script_is_killed_and_its_files_are_a_version(client: Client, bench: Workbench, tmp_path: Path) -> None:
    bench.names.add(NAME)
    code, gate = tmp_path / "code", tmp_path / "gate"
    code.mkdir()
    gate.mkdir()
    (code / "train.py").write_text(SCRIPT)
    (tmp_path / "rows.csv").write_text("x\n1\n2\n6\n")
    options = TrainingJobOptions("train.py", {"gate": str(gate)}, workers=2, min_workers=2, max_restarts=1)
    job = await client.jobs.train(NAME, code, tmp_path / "rows.csv", options)
    victim = await eventually(partial(pid_of, gate / "1-0"), TIMEOUT_S)
    os.kill(victim, signal.SIGKILL)
    for rank in range(2):
        await eventually(partial(pid_of, gate / f"{rank}-1"), TIMEOUT_S)
    (gate / "open").touch()
    await eventually(partial(has_ended, client, job.id), TIMEOUT_S)
    job = await client.jobs.get(job.id)
    assert job.state is JobState.SUCCEEDED, job.reason
    made = await client.version(NAME, job.version)
    assert (made.format, made.metrics, made.lineage.job) == ("safetensors", {"rows": 3.0}, job.id)
    logs = b"".join([part.data async for part in client.jobs.logs(job)]).decode()
    assert "rank 0 of 2, start 1" in logs
    assert "rank 1 of 2, start 1" in logs


COUNTS = """
import json, os
from pathlib import Path

from safetensors.numpy import save_file
import numpy as np

snapshot, output = Path("snapshot"), Path(os.environ["MODELYARD_OUTPUT"])
begun = int(snapshot.read_text()) if snapshot.exists() else 0
snapshot.write_text(f"{begun + 1}")
save_file({"zero": np.zeros(1)}, output / "model.safetensors")
(output / "metrics.json").write_text(json.dumps({"begun": begun}))
"""


@pytest.mark.chaos
async def test_another_job_goes_on_with_what_the_script_has_left(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    bench.names.add(NAME)
    code, found = tmp_path / "code", []
    code.mkdir()
    (code / "train.py").write_text(COUNTS)
    source = ""
    for _ in range(3):
        (code / "train.py").write_text(f"{COUNTS}# {source}")
        job = await client.jobs.train(NAME, code, options=TrainingJobOptions("train.py", resume_from=source))
        await eventually(partial(has_ended, client, job.id), TIMEOUT_S)
        job = await client.jobs.get(job.id)
        assert job.state is JobState.SUCCEEDED, job.reason
        assert job.checkpoint
        found.append((job.checkpoint.step, (await client.version(NAME, job.version)).metrics["begun"]))
        source = job.id
    assert found == [(1, 0.0), (2, 1.0), (3, 2.0)]
