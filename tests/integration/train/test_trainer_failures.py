"""Jobs whose ranks do not end as they should, as the agents of workers run them."""

from __future__ import annotations

import asyncio
import shutil
import signal

import pytest

from modelyard.jobs.dataset import Artifact
from modelyard.jobs.training import Code
from modelyard_worker.training import deaths
from tests.integration.train import stubborn
from tests.integration.train.workshop import Workshop
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
STALL_S = 3.0
SEIZING = 'import re\nre.match(r"(a+)+$", "a" * 64 + "b")\n'
"""A module whose import never ends: no other thread runs, and it begins before the process has told that it lives."""


@pytest.fixture
def workshop(workshop: Workshop) -> Workshop:
    shutil.copy(stubborn.__file__, workshop.code / "stubborn.py")
    (workshop.code / "seizing.py").write_text(SEIZING)
    return workshop


async def begin(workshop: Workshop, does: str) -> None:
    code = Code(Artifact("c" * 64), *(("seizing",) if does == "seize" else ("stubborn", (("does", does),))))
    await workshop.submit(max_workers=1, code=code, stall_s=STALL_S)
    await workshop.start("w0")


@pytest.mark.parametrize(
    ("does", "reason", "line"),
    [
        ("exit", "step 2: the recipe raised SystemExit: enough", 'sys.exit("enough")'),
        (
            "nothing",
            f"before the first step: the recipe got no further for {STALL_S:g} s, and was stopped",
            "self._hang()",
        ),
        ("hang", f"step 2: the recipe got no further for {STALL_S:g} s, and was stopped", "time.sleep(0.1)"),
    ],
)
async def test_code_that_leaves_or_hangs_fails_the_job(workshop: Workshop, does: str, reason: str, line: str) -> None:
    await begin(workshop, does)
    report = await workshop.ends()
    assert report.failed == reason, workshop.log()
    assert line in report.traceback
    assert "modelyard" not in report.traceback


@pytest.mark.parametrize(
    ("does", "end", "line"),
    [
        ("kill", "killed by SIGKILL (out of memory?)", ""),
        ("crash", "killed by SIGSEGV", "in _crash"),
        ("hold", "it was silent for 5 s and was killed", "in _hold"),
        ("seize", "it was silent for 5 s and was killed", 'seizing.py", line 2'),
    ],
)
async def test_ranks_that_die_at_the_same_step_fail_the_job(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, does: str, end: str, line: str
) -> None:
    monkeypatch.setattr(deaths, "MOST", 2)
    await begin(workshop, does)
    ending = asyncio.ensure_future(workshop.ends())
    while not ending.done():
        replacing = asyncio.ensure_future(workshop.replaced())
        await asyncio.wait([replacing, ending], return_when=asyncio.FIRST_COMPLETED)
        replacing.cancel()
        await asyncio.gather(replacing, return_exceptions=True)
    report = ending.result()
    # Who dies at once may not have told that a step is committed.
    told = [f"ranks died 2 times in a row at step {step}, the last one: {end}" for step in (0, 1)]
    assert report.failed in told, workshop.log()
    assert line in report.traceback


async def test_a_control_process_that_is_stopped_at_the_end_is_told_of_it_later(workshop: Workshop) -> None:
    await workshop.submit(max_workers=1)
    await workshop.start("w0")
    await workshop.at_gate(1)
    (control,) = [one for one in workshop.processes() if "modelyard.train.control" in one.cmdline()]
    control.send_signal(signal.SIGSTOP)
    workshop.open_gate()
    assert "silent" in await workshop.replaced()
    report = await workshop.ends()
    assert (report.finished, bool(report.version)) == ("FINISHED", True), workshop.log()
    await eventually(lambda: not workshop.processes())
    losses = workshop.losses()
    done, _ = await asyncio.wait(losses, timeout=0)
    assert not done
    for loss in losses:
        loss.cancel()
