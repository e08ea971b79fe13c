"""Ending a suite from outside, so that no process of it is left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable

from modelyard.errors import InternalError
from modelyard.local import kernel
from modelyard.local.plan import SERVICE_GRACE_S

ORDERLY_S = 5 * SERVICE_GRACE_S
"""What the graces of all that is stopped one after the other can add up to."""
KERNEL_S = 5.0
"""More than the kernel needs to kill what has lost its parent."""
_POLL_S = 0.02


def end_suite(pid: int) -> None:
    """Have the `up` of that pid stop in order, kill it if it does not, and wait until all its descendants are gone."""
    family: set[kernel.Process] = set()

    def gone() -> bool:
        tree = kernel.tree(pid)
        family.update(tree)
        return not any(p.lives for p in tree[:1])

    gone()
    up = next((p for p in family if p.pid == pid), None)
    if up is None:
        return
    up.signal(signal.SIGTERM)
    up.signal(signal.SIGCONT)  # one that was stopped ends in order too
    if not _wait(gone, ORDERLY_S):
        up.signal(signal.SIGKILL)
    end_orphans(family)


def end_orphans(processes: Iterable[kernel.Process]) -> None:
    """Wait until the processes, whose `up` is gone, are gone too; kill what the kernel left.

    Raises:
        InternalError: one cannot be killed.
    """
    family = list(processes)

    def gone() -> bool:
        return not any(p.lives for p in family)

    if _wait(gone, KERNEL_S):
        return
    for process in family:
        process.signal(signal.SIGKILL)
    if not _wait(gone, KERNEL_S):
        left = ", ".join(str(p.pid) for p in family if p.lives)
        raise InternalError(f"the kernel does not end these processes: {left}")


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_s:
            return False
        time.sleep(_POLL_S)
    return True
