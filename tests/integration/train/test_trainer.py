"""Training jobs as the agents of workers run them: ranks and a control process, a real etcd and a real registry."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modelyard import codec, keys
from modelyard.catalogue import Version
from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact
from modelyard.jobs.training import Checkpoints, Code
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.export.onnx_model import OnnxModel
from modelyard.train.local import run_local
from modelyard.train.options import TrainingOptions
from tests.integration.train.gated import Gated
from tests.integration.train.workshop import JOB, SAMPLES, TENANT, Workshop, columns, npz
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
STEPS = 12


async def version(etcd: Etcd, name: str) -> Version:
    found = await etcd.get(keys.version("numbers", name))
    assert found
    return codec.decode(Version, found.value)


async def trains(workshop: Workshop, *workers: str) -> bool:
    return set((await workshop.report()).progress.members) == set(workers)


async def test_a_rank_is_killed_and_a_version_comes_of_it(workshop: Workshop, etcd: Etcd, tmp_path: Path) -> None:
    await workshop.submit(min_workers=2)
    await workshop.start("w0", "w1")
    victim, _ = await workshop.at_gate(2)
    await eventually(lambda: trains(workshop, "w0", "w1"))
    os.kill(victim, signal.SIGKILL)
    workshop.open_gate()
    assert await workshop.replaced() == "the training process ended: killed by SIGKILL"
    report = await workshop.ends()
    assert (report.finished, report.failed) == ("FINISHED", ""), workshop.log()
    assert (report.progress.step, report.progress.steps) == (STEPS, STEPS)

    # Every sample once: of the last epoch, as its means say.
    made = await version(etcd, report.version)
    numbers = range(SAMPLES)
    assert made.metrics["number"] == sum(numbers) / SAMPLES
    assert made.metrics["square"] == sum(n * n for n in numbers) / SAMPLES
    assert (made.tenant, made.lineage.job, made.format) == (TENANT, JOB, "onnx")
    assert made.lineage.dataset == workshop.charter.spec.data.dataset.artifact.manifest_digest  # type: ignore[union-attr]
    assert made.labels == {"code": "c" * 64, "seed": "0"}

    # It answers as what one process trains on the same batches.
    artifact = await workshop.fetched(made.manifest_digest)
    record = json.loads((artifact / "training.json").read_bytes())
    assert record["position"] == {"step": STEPS, "epoch": 3, "offset": 0}
    assert (artifact / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((artifact / "events").iterdir())
    (tmp_path / "data.npz").write_bytes(npz(columns()))
    table = open_table(tmp_path / "data.npz", TableOptions(target="number"))
    alone = run_local(Gated(), table, None, TrainingOptions(epochs=3, batch_size=13))
    inputs, _ = table.batch(range(SAMPLES))
    model = OnnxModel(artifact / "model.onnx")
    (answers,) = model({model.signature.inputs[0].name: inputs}).values()
    assert torch.allclose(answers, alone.module(inputs), rtol=1e-4, atol=1e-5)

    # Who has done its part is not to be replaced.
    await eventually(lambda: not workshop.processes())
    losses = workshop.losses()
    done, _ = await asyncio.wait(losses, timeout=0)
    assert not done
    for loss in losses:
        loss.cancel()
    assert "at the gate" in workshop.log()


async def test_a_job_that_is_stopped_leaves_a_checkpoint(workshop: Workshop, etcd: Etcd) -> None:
    await workshop.submit(max_workers=1, checkpoints=Checkpoints(every_steps=1000))
    await workshop.start("w0")
    await workshop.at_gate(1)
    await workshop.tell(replace(workshop.charter, stop="cancelled"))
    await eventually(lambda: "cancelled" in workshop.log())
    workshop.open_gate()
    report = await workshop.ends()
    assert (report.stopped, report.finished, report.failed) == (True, "", ""), workshop.log()
    assert 3 <= report.progress.checkpoint_step <= STEPS
    formation = await etcd.get(keys.training_formation(JOB))
    assert formation
    saved = json.loads(formation.value)["formation"]["checkpoint"]
    names = {path.name for path in (await workshop.fetched(saved["name"])).iterdir()}
    assert {"checkpoint.json", ".metadata"} <= names
    await eventually(lambda: not workshop.processes())


async def test_a_recipe_that_does_not_import_fails_the_job(workshop: Workshop) -> None:
    (workshop.code / "broken.py").write_text("import torch\n\n1 / 0\n")
    await workshop.submit(max_workers=1, code=Code(Artifact("c" * 64), "broken:Gated"))
    await workshop.start("w0")
    report = await workshop.ends()
    assert report.failed == "import broken: the recipe raised ZeroDivisionError: division by zero"
    assert 'broken.py", line 3' in report.traceback
    assert "modelyard" not in report.traceback
