"""Which jobs are planned next: fair between tenants, the one that was served longest ago first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from modelyard.jobs.job import Job


class Turns:
    """Remembers whose turn it was."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._number = 0

    def choose(self, waiting: Iterable[Job], planned: Collection[str], most: int) -> list[Job]:
        """Return at most so many jobs; each tenant is served by that.

        Of tenants those come first of whom the fewest are planned now; of a tenant's jobs the most urgent, then the
        oldest.

        Args:
            waiting: which might be.
            planned: the tenants of those that are planned now, one a job.
            most: how many.
        """
        left, busy, chosen = list(waiting), list(planned), list[Job]()
        while left and len(chosen) < most:
            job = min(left, key=lambda one: self._rank(one, busy))
            left.remove(job)
            busy.append(job.tenant)
            chosen.append(job)
            self._number += 1
            self._served[job.tenant] = self._number
        return chosen

    def _rank(self, job: Job, busy: Collection[str]) -> tuple[float, ...]:
        often = list(busy).count(job.tenant)
        return often, self._served.get(job.tenant, 0), job.spec.priority, job.create_time_s
