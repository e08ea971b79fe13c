"""A script as the agents of workers run it: ranks and a control process, a real etcd and a real registry."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modelyard import codec, keys
from modelyard.catalogue import Version
from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact
from modelyard.jobs.training import Code, TrainingData
from tests.integration.train import scripted
from tests.integration.train.test_resumption import saved
from tests.integration.train.workshop import START_S, Workshop
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture
def workshop(workshop: Workshop) -> Workshop:
    shutil.copy(scripted.__file__, workshop.code / "train.py")
    return workshop


def under_torchrun(directory: Path) -> dict[str, torch.Tensor]:
    """What the same script comes to."""
    directory.mkdir()
    shutil.copy(scripted.__file__, directory / "train.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    subprocess.run(
        [*command, f"--out={directory}"], cwd=directory, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return load_file(directory / "model.safetensors")


async def submit(workshop: Workshop, **spec: object) -> None:
    code = Code(Artifact("c" * 64), "train.py", (("gate", str(workshop.gate)),))
    given = {"code": code, "data": TrainingData(), "epochs": 0, "min_workers": 2, **spec}
    await workshop.submit(**given)


async def test_a_rank_is_killed_and_the_result_is_that_of_torchrun(
    workshop: Workshop, etcd: Etcd, tmp_path: Path
) -> None:
    await submit(workshop)
    await workshop.start("w0", "w1")
    scripts = await workshop.at_gate(2)
    rank = int((workshop.gate / str(scripts[0])).read_text())
    os.kill(rank, signal.SIGKILL)
    assert await workshop.replaced() == "the training process ended: killed by SIGKILL"
    workshop.open_gate()
    report = await workshop.ends()
    assert (report.finished, report.failed) == ("FINISHED", ""), workshop.log()
    found = await etcd.get(keys.version("numbers", report.version))
    assert found
    version = codec.decode(Version, found.value)
    assert (version.format, version.metrics, version.lineage.job) == ("safetensors", {"steps": 8.0}, "job-1")
    weights = load_file(await workshop.fetched(version.manifest_digest) / "model.safetensors")
    expected = under_torchrun(tmp_path / "torchrun")
    for name, values in expected.items():
        assert torch.equal(values, weights[name])
    print(workshop.log())


async def test_all_workers_are_lost_with_their_disks(workshop: Workshop, etcd: Etcd, tmp_path: Path) -> None:
    await submit(workshop)
    await workshop.start("w0", "w1")
    await workshop.at_gate(2)
    await eventually(partial(saved, etcd), START_S)
    for process in workshop.processes():
        process.send_signal(signal.SIGKILL)
    await workshop.close()
    for worker in ("w0", "w1"):
        shutil.rmtree(tmp_path / worker)
    workshop.open_gate()
    await workshop.start("w2", "w3")
    report = await workshop.ends()
    assert (report.finished, report.failed) == ("FINISHED", ""), workshop.log()
    assert "rank 0 of 2 begins at step 2, 0 restarts" in workshop.log()
    found = await etcd.get(keys.version("numbers", report.version))
    assert found
    version = codec.decode(Version, found.value)
    weights = load_file(await workshop.fetched(version.manifest_digest) / "model.safetensors")
    for name, values in under_torchrun(tmp_path / "torchrun").items():
        assert torch.equal(values, weights[name])


async def test_scripts_that_hang_fail_the_job(workshop: Workshop) -> None:
    code = Code(Artifact("c" * 64), "hangs.py")
    (workshop.code / "hangs.py").write_text("import time\n\ndef waits():\n    time.sleep(600)\n\nwaits()\n")
    await submit(workshop, code=code, stall_s=3.0)
    await workshop.start("w0", "w1")
    report = await workshop.ends()
    assert report.failed == "hangs.py: for 3 s no rank printed, changed a file, or computed: it hangs"
    assert report.traceback.count("in waits") == 2
