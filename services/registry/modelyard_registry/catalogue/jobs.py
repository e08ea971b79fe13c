"""Which versions jobs use: what a job wants loaded is in use until it has ended, as what is deployed is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from modelyard import codec, keys
from modelyard.deployment import Deployment
from modelyard.errors import PreconditionError
from modelyard.etcd import Compare, Etcd, KeyValue

MOST_SAID = 3
"""Jobs that are named."""


@dataclass(frozen=True)
class JobUses:
    """What jobs use.

    Attributes:
        jobs: by the version that they use.
        unchanged: the condition that no job has begun to use anything since.
    """

    jobs: dict[str, list[str]]
    unchanged: Compare

    def check_none(self, what: str) -> None:
        """Raise PreconditionError if there are any; `what` is not to be used."""
        jobs = [job for those in self.jobs.values() for job in those]
        if jobs:
            more = f" and {len(jobs) - MOST_SAID} more" if len(jobs) > MOST_SAID else ""
            named = ", ".join(jobs[:MOST_SAID]) + more
            raise PreconditionError(f"{what}: jobs use it: {named}; cancel them, or wait for their end")


async def uses_by_jobs(etcd: Etcd, model: str, version: str = "") -> JobUses:
    """Return which jobs use a model, or one version of it.

    Raises:
        UnavailableError: etcd is away.
    """
    prefix = keys.jobs(model, version)
    listing = await etcd.list(prefix)
    found: dict[str, list[str]] = {}
    for key in sorted(listing.items):
        name, _, job = key.removeprefix(keys.jobs(model)).partition("/")
        if _is_in_use(listing.items[key]):
            found.setdefault(name, []).append(job)
    return JobUses(found, Compare.unchanged_below(prefix, listing.revision))


def _is_in_use(wish: KeyValue) -> bool:
    """Whether a job that wants this has not ended; of what cannot be read nothing is known."""
    read = codec.understood(partial(codec.decode, Deployment), wish.key, wish.value)
    return read is None or read.replicas > 0
