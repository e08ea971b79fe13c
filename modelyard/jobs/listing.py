"""Listing jobs, newest first, page by page."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelyard.errors import InvalidInputError
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState

_TOKEN = re.compile(r"([0-9]+\.[0-9]+|[0-9]+)/([A-Za-z0-9._-]+)\Z")


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are wanted; what is empty does not matter."""

    states: frozenset[JobState] = frozenset()
    model: str = ""
    tenant: str = ""

    def matches(self, job: Job) -> bool:
        """Whether a job is one of them."""
        return (
            (not self.states or job.state in self.states)
            and self.model in {"", job.spec.inference.model}
            and self.tenant in {"", job.tenant}
        )


def page(jobs: Iterable[Job], wanted: JobFilter, size: int, token: str = "") -> tuple[list[Job], str]:
    """Return so many of the jobs that are wanted, at least 1, and the token of the next page; empty: it is the last.

    A job that is submitted between two pages is on none of them; none is on both.

    Raises:
        InvalidInputError: the token is none of ours.
    """
    after = _position(token) if token else None
    found = heapq.nsmallest(
        size + 1, (job for job in jobs if wanted.matches(job) and (after is None or _key(job) > after)), key=_key
    )
    more = len(found) > size
    return found[:size], f"{found[size - 1].create_time_s!r}/{found[size - 1].id}" if more else ""


def _key(job: Job) -> tuple[float, str]:
    return -job.create_time_s, job.id


def _position(token: str) -> tuple[float, str]:
    found = _TOKEN.match(token)
    if found is None:
        raise InvalidInputError(f"page_token: expected one that a page came with, got {token!r:.80}")
    return -float(found[1]), found[2]
