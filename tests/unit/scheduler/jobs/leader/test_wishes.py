"""What jobs want loaded, as etcd has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Version
from modelyard.deployment import Deployment
from modelyard.errors import AbortedError, PreconditionError
from modelyard_scheduler.jobs.leader.wishes import KEPT_S
from tests.unit.jobs.submitted import job
from tests.unit.scheduler.jobs.term import Stage

ONE = job()


async def wished(stage: Stage) -> dict[str, int]:
    """How many replicas each job wishes for."""
    found = (await stage.etcd.list(keys.JOBS)).items
    return {key.rpartition("/")[2]: codec.decode(Deployment, kv.value).replicas for key, kv in found.items()}


def version_of(stage: Stage) -> Version:
    assert isinstance(stage.version, Version)
    return stage.version


async def test_more_are_wished_for_at_once_and_fewer_when_it_is_less_than_half(stage: Stage) -> None:
    wishes = (await stage.lead()).wishes
    seen = []
    for replicas in (1, 4, 3, 2, 1, 8):
        await wishes.want(ONE, version_of(stage), replicas)
        seen.append((await wished(stage))["job-1"])
    assert seen == [1, 4, 4, 4, 1, 8]


async def test_a_wish_ends_with_its_job_and_goes_a_minute_later(stage: Stage) -> None:
    wishes = (await stage.lead()).wishes
    await wishes.want(ONE, version_of(stage), 2)
    await wishes.sweep({"job-1"})
    assert await wished(stage) == {"job-1": 2}
    await wishes.sweep(set())
    assert await wished(stage) == {"job-1": 0}
    stage.now_s += KEPT_S - 1
    await wishes.sweep(set())
    assert await wished(stage) == {"job-1": 0}
    stage.now_s += 1
    await wishes.sweep(set())
    assert await wished(stage) == {}


async def test_a_new_leader_ends_what_is_nobodys(stage: Stage) -> None:
    first = (await stage.lead()).wishes
    await first.want(ONE, version_of(stage), 2)
    await first.want(replace(ONE, id="job-2"), version_of(stage), 3)
    second = (await stage.lead()).wishes
    await second.sweep({"job-2"})
    stage.now_s += KEPT_S
    await second.sweep({"job-2"})
    assert await wished(stage) == {"job-2": 3}


async def test_a_job_that_is_revived_wishes_again(stage: Stage) -> None:
    wishes = (await stage.lead()).wishes
    await wishes.want(ONE, version_of(stage), 2)
    await wishes.end("job-1")
    assert await wished(stage) == {"job-1": 0}
    await wishes.want(ONE, version_of(stage), 1)
    assert await wished(stage) == {"job-1": 1}
    stage.now_s += KEPT_S
    await wishes.sweep({"job-1"})
    assert await wished(stage) == {"job-1": 1}


async def test_a_leader_that_was_deposed_wishes_for_nothing(stage: Stage) -> None:
    old = (await stage.lead()).wishes
    await stage.lead()
    with pytest.raises(AbortedError, match="another one leads"):
        await old.want(ONE, version_of(stage), 1)
    assert await wished(stage) == {}


async def test_a_deleted_version_is_not_wished_for(stage: Stage) -> None:
    wishes = (await stage.lead()).wishes
    with pytest.raises(PreconditionError, match="deleted"):
        await wishes.want(ONE, replace(version_of(stage), state=Lifecycle.DELETED), 1)


async def test_a_version_that_has_changed_meanwhile_is_wished_for_the_next_time(stage: Stage) -> None:
    wishes = (await stage.lead()).wishes
    before = version_of(stage)
    await stage.publish()
    await wishes.want(ONE, before, 1)
    assert await wished(stage) == {}
    await wishes.want(ONE, version_of(stage), 1)
    assert await wished(stage) == {"job-1": 1}
