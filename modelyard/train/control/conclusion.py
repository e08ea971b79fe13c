"""The end of a job, or of this process's part in it, is noted in etcd for whoever goes on."""

from __future__ import annotations

import asyncio
import logging

from modelyard.errors import PASSING
from modelyard.train.control.admission import Admission
from modelyard.train.control.ending import Ending
from modelyard.train.control.fence import Fence, Record
from modelyard.train.control.messages import Formation
from modelyard.train.control.progress import Progress

log = logging.getLogger(__name__)
RETRY_S = 0.5
"""Between two tries to write while etcd is away."""


async def conclude(fence: Fence, ending: Ending, progress: Progress, admission: Admission) -> None:
    """Note in etcd the last checkpoint and, if every member of the formation says so, that nobody trains any more, so
    that who goes on need not wait for them. Returns as soon as etcd has it.

    Raises:
        DeposedError: another control process has taken the place of this one.
    """
    while True:
        try:
            if await _concluded(fence, ending, progress, admission):
                return
        except PASSING as error:
            log.warning("the end waits for etcd", extra={"reason": str(error)})
            await asyncio.sleep(RETRY_S)


async def _concluded(fence: Fence, ending: Ending, progress: Progress, admission: Admission) -> bool:
    """Whether it is noted. If not, a write has come through whose answer was lost, which is known by now."""
    if not ending.is_parted:
        return await fence.note(progress.saved)
    nobody = Formation(fence.last.formation.number + 1, (), (), "", progress.saved)
    return await fence.write(Record(nobody, admission.agreement))
