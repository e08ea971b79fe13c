"""A script as the agents of workers run it: ranks and a control process, a real etcd and a real registry."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
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
from tests.integration.train.workshop import Workshop

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
