"""Listing jobs, newest first, page by page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelyard.errors import InvalidInputError
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState

_TOKEN = re.compile(r"[1-9][0-9]{0,15}\Z", re.ASCII)


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
            and self.model in {"", job.spec.model}
            and self.tenant in {"", job.tenant}
        )


def place_of(token: str) -> int:
    """The place in the list that a page ended at; 0 where there is no token. InvalidInputError: it is none of ours."""
    if token and not _TOKEN.match(token):
        raise InvalidInputError(f"page_token: expected one that a page came with, got {token!r:.80}")
    return int(token or 0)
