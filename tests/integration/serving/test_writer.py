"""The leader's hand on a real etcd: what rests on a key that is another one by now is not written."""

from __future__ import annotations

import pytest

from modelyard import codec, keys
from modelyard.deployment import Activity, Eviction, Member
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.session import Election
from modelyard_scheduler.decision import Decision
from modelyard_scheduler.eviction import Use
from modelyard_scheduler.writer import Writer
from tests.integration.serving.cluster import Cluster

X = ModelVersion("x", "1")


@pytest.mark.parametrize("called", [True, False])
async def test_why_it_was_unloaded_is_forgotten_only_if_it_is_called_still(etcd: Etcd, called: bool) -> None:
    cluster, election = Cluster(etcd), Election(etcd, keys.LEADER, codec.encode(Member("a", "")))
    await cluster.call("x")
    activity = await etcd.get(keys.activity("x", "1"))
    assert activity is not None
    assert codec.decode(Activity, activity.value).last_used_s
    await etcd.put(keys.eviction("x", "1"), codec.encode(Eviction("room", 0.0)))
    if not called:  # the leader has seen the eviction, but not yet that the activity went with it
        await etcd.delete(keys.activity("x", "1"))
    term = await election.campaign()
    decision = Decision(withdrawn=[], written=[], unloaded={}, complete=[], stray=[], past=[X])
    assert await Writer(etcd, term, {}).apply(decision, {X: Use(activity.mod_revision, 0.0, ready=False)})
    assert bool(await cluster.evicted()) is not called
    await term.resign()
