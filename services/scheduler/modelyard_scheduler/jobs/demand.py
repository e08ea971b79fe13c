"""What jobs want loaded, and the internal deployments that become of it. Pure.

A job has a *wish* in etcd, keys.job(model, version, job), from PLANNING until a minute after its end. The leader writes
it by `wish`, under its term's fence and the conditions of `modelyard_scheduler.publication.published`, which raises if
the version is deleted. From then on the registry refuses to delete version and model. When the number of workers that
would have something to do is another one, the wish is written anew. When the job has ended it is written once more with
0 replicas, and removed 60 s later: what is loaded stays so long for a next job, as long as nobody else needs the room,
nothing new is loaded, and the version may be deleted. Whether it can be loaded at all tells
`modelyard_scheduler.outlook.hopeless` of the internal deployment.

All wishes for one version are one *internal deployment*. Its replicas are the sum of theirs, those of its user among
them: a version that a user has deployed with as many replicas gets none beside. Where a user has deployed the version,
its options and its selector (`--on`) are his, whatever the wishes say. To front doors a replica of it is a replica of
the version: they route to it if, and only if, a user has deployed that.

- Users come first. Their replicas go where they would go if there were no jobs, as long as there is room. A user's
  deployment that waits for room gets that of internal replicas, even of the last: the job goes on elsewhere, or waits.
- The first replica of a version that jobs wish for may get the room of idle on-demand deployments, as any deployment
  may, and that of internal replicas of versions that have others. All further replicas take what nobody needs.
- An on-demand deployment that jobs wish for too is not unloaded while it is awake. While it sleeps the job's replicas
  are loaded with its options; a call of it is answered by them, and wakes it.
- An internal replica goes at once when its worker drains, is not selected any more or fails to run it; where it failed
  it is not tried again for five minutes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from modelyard.catalogue import Version
from modelyard.deployment import Deployment
from modelyard.names import ModelVersion
from modelyard_scheduler.load import estimate


def wish(version: Version, tenant: str, replicas: int, now_s: float) -> Deployment:
    """Return what a job writes to have a version loaded.

    Args:
        version: as the registry tells it.
        tenant: the job's.
        replicas: on how many workers a task of the job would be executed at a time; 0: the job has ended.
        now_s: in seconds since the epoch.
    """
    return Deployment(
        model=version.model,
        version=version.version,
        replicas=replicas,
        resources=estimate(version),
        manifest_digest=version.manifest_digest,
        format=version.format,
        tenant=tenant,
        create_time_s=now_s,
        version_time_s=version.create_time_s,
    )


def merged(users: Mapping[ModelVersion, Deployment], wishes: Iterable[Deployment]) -> dict[ModelVersion, Deployment]:
    """Return the internal deployments, one a version.

    Args:
        users: what users have deployed.
        wishes: of all jobs.
    """
    found: dict[ModelVersion, list[Deployment]] = {}
    for one in wishes:
        found.setdefault(ModelVersion(one.model, one.version), []).append(one)
    return {version: _internal(users.get(version), alike) for version, alike in found.items()}


def _internal(user: Deployment | None, wishes: list[Deployment]) -> Deployment:
    kind = user or min(wishes, key=lambda d: d.create_time_s)
    replicas = sum(one.replicas for one in wishes)
    return dataclasses.replace(kind, replicas=replicas, on_demand=False, idle_s=0.0, replaces=())
