"""Training jobs all of whose processes are gone: they go on from the last checkpoint, at the exact sample."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Version
from modelyard.etcd import Etcd
from modelyard.jobs.training import Checkpoints
from modelyard.train.control.fence import Record
from modelyard.train.control.messages import Saved
from tests.integration.registry.remote import RegistryServer
from tests.integration.train.workshop import JOB, SAMPLES, START_S, Workshop
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
STEPS = 4
"""Of the one epoch, whose sums a checkpoint has."""


async def saved(etcd: Etcd) -> Saved | None:
    """The last checkpoint that is known."""
    found = await etcd.get(keys.training_formation(JOB))
    return codec.decode(Record, found.value).formation.checkpoint if found else None


async def begun(workshop: Workshop, etcd: Etcd) -> None:
    """Two ranks are in the midst of the epoch, and have a checkpoint."""
    await workshop.submit(epochs=1, checkpoints=Checkpoints(1), min_workers=2, max_workers=3)
    await workshop.start("w0", "w1")
    await workshop.at_gate(2)
    await eventually(lambda: saved(etcd), START_S)


async def expect_trained(workshop: Workshop, etcd: Etcd) -> None:
    """Each sample of the epoch is in its sums once."""
    report = await workshop.ends()
    assert (report.finished, report.failed) == ("FINISHED", ""), workshop.log()
    assert report.progress.checkpoint_step == STEPS
    found = await etcd.get(keys.version("numbers", report.version))
    assert found
    made = codec.decode(Version, found.value)
    assert made.metrics["number"] == sum(range(SAMPLES)) / SAMPLES
    assert made.metrics["square"] == sum(n * n for n in range(SAMPLES)) / SAMPLES


async def test_all_processes_are_killed(workshop: Workshop, etcd: Etcd) -> None:
    await begun(workshop, etcd)
    for process in workshop.processes():
        process.send_signal(signal.SIGKILL)
    workshop.open_gate()
    for _ in range(3):
        assert await workshop.replaced() == "the training process ended: killed by SIGKILL"
    await expect_trained(workshop, etcd)
    assert workshop.log().count('"resumed"') == 1


async def test_one_that_was_stopped_goes_on_with_another_number_of_workers(workshop: Workshop, etcd: Etcd) -> None:
    await begun(workshop, etcd)
    await workshop.tell(replace(workshop.charter, stop="paused"))
    await eventually(lambda: "paused" in workshop.log())
    workshop.open_gate()
    assert (await workshop.ends()).stopped
    await workshop.close()
    await workshop.tell(replace(workshop.charter, stop=""))
    await etcd.delete(keys.training_report(JOB))
    await workshop.start("w0", "w1", "w2")
    await expect_trained(workshop, etcd)


async def test_where_the_last_checkpoint_is_damaged_the_one_before_is_gone_on_from(
    workshop: Workshop, etcd: Etcd, server: RegistryServer
) -> None:
    await begun(workshop, etcd)
    await workshop.tell(replace(workshop.charter, stop="paused"))
    await eventually(lambda: "paused" in workshop.log())
    workshop.open_gate()
    assert (await workshop.ends()).stopped
    last = await saved(etcd)
    assert last
    assert last.before
    server.chunk(last.name).write_bytes(b"damaged")
    await workshop.close()
    await workshop.tell(replace(workshop.charter, stop=""))
    await etcd.delete(keys.training_report(JOB))
    await workshop.start("w0", "w1")
    await expect_trained(workshop, etcd)
    assert "checkpoint damaged" in workshop.log()
