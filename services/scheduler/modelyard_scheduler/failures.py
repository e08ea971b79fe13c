"""Which workers fail to run which versions. Pure but for a clock that is passed in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from modelyard.deployment import Deployment, Instance, InstanceState
from modelyard.names import ModelVersion

MOST_FAILURES = 3
PATIENCE_S = 30.0
AVOIDED_S = 300.0


@dataclass
class Failures:
    """Versions that failed three times, or for 30 s, where they were placed: those workers are avoided for 5 minutes.

    A version that is deployed with other options is tried everywhere anew. Of each failure that is remembered which
    was announced first with its number: what is said later may be of something else, such as a registry that is away.
    """

    since_s: dict[tuple[ModelVersion, str], float] = field(default_factory=dict)
    until_s: dict[tuple[ModelVersion, str], float] = field(default_factory=dict)
    last: dict[tuple[ModelVersion, str], Instance] = field(default_factory=dict)

    def observe(self, instances: Iterable[Instance], deployed: Collection[ModelVersion], now_s: float) -> None:
        """Note what has failed, and forget what is not deployed any more.

        Between failures it may be LOADING; once it was READY the 30 s begin anew. To end soon after each READY is to
        fail as well: that is only ever LOADING, of more and more failures.
        """
        seen: set[tuple[ModelVersion, str]] = set()
        for one in instances:
            site = (ModelVersion(one.model, one.version), one.worker)
            often = one.failures >= MOST_FAILURES
            loading = one.state is InstanceState.LOADING
            if one.state is InstanceState.FAILED or (loading and (often or site in self.since_s)):
                seen.add(site)
                since_s = self.since_s.setdefault(site, now_s)
                if often or now_s - since_s >= PATIENCE_S:
                    self.until_s[site] = now_s + AVOIDED_S
                    self._remember(site, one)
        self.since_s = {site: since_s for site, since_s in self.since_s.items() if site in seen}
        self.until_s = {
            site: until_s for site, until_s in self.until_s.items() if now_s < until_s and site[0] in deployed
        }
        self.last = {site: self.last[site] for site in self.until_s}

    def _remember(self, site: tuple[ModelVersion, str], failed: Instance) -> None:
        known = self.last.get(site)
        if known is None or (known.failures, known.options) != (failed.failures, failed.options):
            self.last[site] = failed

    def avoided(self, deployments: Mapping[ModelVersion, Deployment]) -> Collection[tuple[ModelVersion, str]]:
        """Which versions are not to be placed on which workers."""
        return {
            site for site, failed in self.last.items() if site[0] in deployments and _same(failed, deployments[site[0]])
        }

    def reason(self, deployment: Deployment, worker: str) -> str:
        """Why a deployment is not to be placed on a worker; empty if it may be."""
        failed = self.last.get((ModelVersion(deployment.model, deployment.version), worker))
        return (failed.reason or "it did not say why") if failed and _same(failed, deployment) else ""


def _same(failed: Instance, deployment: Deployment) -> bool:
    return failed.options == deployment.options
