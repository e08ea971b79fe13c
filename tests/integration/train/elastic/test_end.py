"""How a run ends that does not come to its end by itself."""

from __future__ import annotations

import signal

from modelyard import keys
from modelyard.etcd import Etcd
from modelyard.jobs.training_report import report_of
from tests.integration.train.elastic.conftest import NewGang
from tests.integration.train.elastic.gang import SETTLE_S
from tests.integration.train.elastic.rank import BATCH, SAMPLES
from tests.waiting import eventually

STALL_S = 3.0
STEPS = 3 * -(-SAMPLES // BATCH)


async def test_a_rank_that_hangs_is_blamed_and_none_that_waits_for_it(gang: NewGang, etcd: Etcd) -> None:
    job = await gang(min_workers=2, max_workers=3)
    for name in "abc":
        job.start(name, at=4 if name == "b" else -1, signal=0, stall_s=STALL_S)
    for name in "ac":
        await job.ends(name)
        (end,) = job.found(name, "ending")
        assert end["ending"] == f"b failed: step 4: the recipe got no further for {STALL_S:g} s, and was stopped"
    found = await eventually(lambda: etcd.get(keys.training_report("job")))
    assert found
    report = report_of(found.value)
    assert report.failed == f"step 4: the recipe got no further for {STALL_S:g} s, and was stopped"
    assert "while not self.plan.signal:" in report.traceback or "time.sleep(1)" in report.traceback


async def test_a_rank_that_shares_its_model_and_hangs_while_it_makes_it_is_blamed(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=2, replica=2)
    for name, where in (("a", "forward"), ("b", "model")):
        job.start(name, shape=(2, 1, 1), where=where, stall_s=STALL_S)
    await job.ends("a")
    (end,) = job.found("a", "ending")
    assert end["ending"] == (
        f"b failed: before the first step: the recipe got no further for {STALL_S:g} s, and was stopped"
    )


async def test_who_waits_for_others_saves_before_it_ends(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=2)
    for name in "ab":
        job.start(name, gates=(6,))
    for name in "ab":
        await job.reaches(name, "step", 6)
    job.signal("b", signal.SIGKILL)
    await eventually(lambda: "member lost" in job.log())
    await job.stop("paused")
    job.open_gate(6)
    await job.ends("a")
    (end,) = job.found("a", "ending")
    assert (end["ending"], end["step"]) == ("paused", 6)
    assert [event["saved"] for event in job.found("a", "saved")] == [6]


async def test_if_who_saves_the_end_is_killed_another_one_does(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=2)
    for name in "ab":
        job.start(name, gates=(6,), where="save")
    for name in "ab":
        await job.reaches(name, "step", 6)
    first, other = sorted("ab", key=lambda name: job.found(name, "formed")[0]["rank"])
    (job.directory / f"at-{first}").write_text("6")
    await job.stop("paused")
    await job.reaches(first, "leaving")
    job.open_gate(6)
    await job.ends(other)
    (end,) = job.found(other, "ending")
    assert end["ending"] == "paused"
    assert [event["step"] for event in job.found(first, "reached")] == [end["step"]]
    assert not job.found(first, "ending")
    saved = [event["saved"] for event in job.found(other, "saved")]
    assert saved[-2:] == [end["step"]] * 2  # with all of its group, which is for rank 0 to do, then alone


async def test_who_finds_no_registry_at_the_end_leaves_it_to_another(gang: NewGang) -> None:
    job = await gang(min_workers=1, max_workers=2, settle_s=SETTLE_S)
    for name in "ab":
        job.start(name, gates=(8,), where="away")
    await job.reaches("a", "step", 8)
    first, other = sorted("ab", key=lambda name: job.found(name, "formed")[0]["rank"])
    (job.directory / f"at-{first}").write_text(str(STEPS))
    job.open_gate(8)
    await job.ends(other)
    (end,) = job.found(other, "ending")
    assert (end["ending"], end["version"]) == ("FINISHED", f"of-{other}")
    assert not job.found(first, "ending")
