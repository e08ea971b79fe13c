"""The leader's hand: decisions as transactions, each under the condition that its term still lasts.

What rests on a deployment or an activity key is written only if that is still as it was seen; if it is not, the next
decision looks at it again.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping

from modelyard import codec, keys
from modelyard.deployment import Deployment, Eviction, Placement
from modelyard.etcd import Compare, Delete, Etcd, Put
from modelyard.names import ModelVersion
from modelyard.session import Term
from modelyard_scheduler.decision import Decision, version_of
from modelyard_scheduler.eviction import Use

log = logging.getLogger(__name__)

MOST_OPERATIONS = 100
"""Of a transaction; etcd allows 128."""


class Writer:
    """Writes what one term decides."""

    def __init__(self, etcd: Etcd, term: Term, deployed: Mapping[str, int]) -> None:
        """`deployed`: the revisions of the deployments that decisions rest on, by "model@version"."""
        self._etcd = etcd
        self._term = term
        self._deployed = deployed

    async def apply(self, decision: Decision, uses: Mapping[ModelVersion, Use]) -> bool:
        """Write a decision that rests on these activity keys; return False if the term is over."""
        if not await self._place(decision):
            return False
        for version, reason in decision.unloaded.items():
            await self._unload(version, reason, uses[version].revision)
        for version in decision.stray:
            seen = Compare(_activity(version), uses[version].revision, "mod")
            await self._commit([seen, self._unchanged(version)], Delete(_activity(version)))
        for version in decision.past:
            called = [Compare(_activity(version), uses[version].revision, "mod")] if version in uses else []
            await self._commit([*called, self._unchanged(version)], Delete(_eviction(version)))
        for deployment in decision.complete:
            await self._end_replaced(deployment)
        return True

    async def _place(self, decision: Decision) -> bool:
        operations: list[Put | Delete] = []
        for placement in decision.withdrawn:
            self._say("withdraw", placement)
            operations.append(Delete(_placement(placement)))
        for placement in decision.written:
            self._say("place", placement)
            record = dataclasses.replace(placement, epoch=self._term.epoch)
            operations.append(Put(_placement(placement), codec.encode(record)))
        for start in range(0, len(operations), MOST_OPERATIONS):
            if not await self._commit([], *operations[start : start + MOST_OPERATIONS]):
                return False
        return True

    def _say(self, what: str, placement: Placement) -> None:
        instance = f"{placement.model}@{placement.version}"
        log.info(what, extra={"instance": instance, "worker": placement.worker, "epoch": self._term.epoch})

    async def _unload(self, version: ModelVersion, reason: str, revision: int) -> None:
        record = codec.encode(Eviction(reason, time.time()))
        seen = [Compare(_activity(version), revision, "mod"), self._unchanged(version)]
        if await self._commit(seen, Delete(_activity(version)), Put(_eviction(version), record)):
            log.info("unload", extra={"instance": str(version), "reason": reason, "epoch": self._term.epoch})

    async def _end_replaced(self, deployment: Deployment) -> None:
        """End what a deployment replaces, and let it replace nothing any more: what is deployed later stays."""
        key, version = keys.deployment(deployment.model, deployment.version), version_of(deployment)
        now, later = deployment.replaces[:MOST_OPERATIONS], deployment.replaces[MOST_OPERATIONS:]
        ends = [Delete(keys.deployment(deployment.model, replaced)) for replaced in now]
        rest = Put(key, codec.encode(dataclasses.replace(deployment, replaces=later)))
        if await self._commit([self._unchanged(version)], *ends, rest):
            log.info("replaced", extra={"instance": str(version), "replaced": list(now), "epoch": self._term.epoch})

    def _unchanged(self, version: ModelVersion) -> Compare:
        """The condition that a deployment is as it was seen, or is not there, as was seen."""
        key, revision = keys.deployment(version.model, version.version), self._deployed.get(str(version), 0)
        return Compare(key, revision, "mod") if revision else Compare(key, 0)

    async def _commit(self, compares: list[Compare], *operations: Put | Delete) -> bool:
        return bool(await self._etcd.commit([self._term.fence, *compares], operations))


def _placement(placement: Placement) -> str:
    return keys.placement(placement.worker, placement.model, placement.version)


def _activity(version: ModelVersion) -> str:
    return keys.activity(version.model, version.version)


def _eviction(version: ModelVersion) -> str:
    return keys.eviction(version.model, version.version)
