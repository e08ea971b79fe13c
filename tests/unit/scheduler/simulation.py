"""A cluster without processes: the leader's decisions are carried out by agents that take steps when they are told."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable

from modelyard.catalogue import Resources
from modelyard.deployment import (
    Activity,
    Deployment,
    Device,
    Instance,
    InstanceOptions,
    InstanceState,
    Placement,
    Selector,
    Worker,
)
from modelyard.names import ModelVersion
from modelyard.reservation import Need
from modelyard_scheduler.decision import Decision, View, decide, remember, version_of
from modelyard_scheduler.eviction import Uses
from modelyard_scheduler.failures import Failures
from modelyard_scheduler.jobs.demand import merged
from modelyard_scheduler.placement import Site

GIB = 1 << 30
READY, LOADING, FAILED, UNLOADING = (
    InstanceState.READY,
    InstanceState.LOADING,
    InstanceState.FAILED,
    InstanceState.UNLOADING,
)


def worker(name: str, gib: int = 64, *, gpus: int = 0, draining: bool = False, **labels: str) -> Worker:
    devices = tuple(Device(f"cuda:{n}", "gpu", 16 * GIB) for n in range(gpus))
    return Worker(name, "127.0.0.1:1", 8.0, gib * GIB, name, devices, labels, draining)


def deployment(
    model: str, replicas: int = 1, gib: int = 1, *, gpu: int = 0, version: str = "1", **said: object
) -> Deployment:
    made = Deployment(model, version, replicas, Resources(memory_bytes=gib * GIB, gpu=gpu), "d" * 64, "onnx")
    return dataclasses.replace(made, **said)  # type: ignore[arg-type]


def key(model: str, version: str = "1") -> ModelVersion:
    return ModelVersion(model, version)


class Cluster:
    """What etcd would hold, and how the agents make it so."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = {w.id: w for w in workers}
        self.deployments: dict[ModelVersion, Deployment] = {}
        self.wishes: dict[tuple[str, str], Deployment] = {}
        """What jobs want loaded, by model and job."""

        self.placements: dict[tuple[str, ModelVersion], Placement] = {}
        self.instances: dict[tuple[str, ModelVersion], Instance] = {}
        self.needs: dict[tuple[str, ModelVersion], Placement] = {}
        """What each instance was placed as, so that it is known what it takes until it is gone."""

        self.activities: dict[ModelVersion, tuple[int, Activity]] = {}
        self.evictions: dict[ModelVersion, str] = {}
        self.broken: set[tuple[str, str]] = set()
        """Workers and models that do not load there."""

        self.uses, self.failures = Uses(), Failures()
        self.reserved: dict[Site, Need] = {}
        self.now_s, self.revision = 1000.0, 1

    def deploy(self, *deployments: Deployment) -> None:
        self.deployments.update({version_of(d): d for d in deployments})

    def undeploy(self, model: str) -> None:
        self.deployments = {v: d for v, d in self.deployments.items() if v.model != model}

    def wish(self, model: str, replicas: int, gib: int = 1, job: str = "job", **said: object) -> None:
        """A job wants a model loaded on so many workers."""
        self.wishes[model, job] = deployment(model, replicas, gib, **said)  # type: ignore[arg-type]

    def end(self, job: str = "job") -> None:
        """A job wants nothing any more."""
        self.wishes = {site: one for site, one in self.wishes.items() if site[1] != job}

    def internal(self) -> dict[ModelVersion, Deployment]:
        return merged(self.deployments, self.wishes.values())

    def call(self, model: str, version: str = "1") -> None:
        """As a front door: say that it is called."""
        self.revision += 1
        self.activities[key(model, version)] = (self.revision, Activity(self.now_s))

    def crash(self, name: str) -> None:
        """A worker is gone, and what was on it."""
        del self.workers[name]
        self.instances = {k: i for k, i in self.instances.items() if k[0] != name}

    def drain(self, name: str) -> None:
        self.workers[name] = dataclasses.replace(self.workers[name], draining=True)

    def decide(self) -> Decision:
        """Decide, and write that down."""
        ready = {version_of(i) for i in self.instances.values() if i.state is READY}
        self.failures.observe(self.instances.values(), {*self.deployments, *self.internal()}, self.now_s)
        self.uses.observe(self.activities, ready, self.now_s, self.now_s)
        decision = decide(self.view())
        for placement in decision.withdrawn:
            del self.placements[placement.worker, version_of(placement)]
        for placement in decision.written:
            self.placements[placement.worker, version_of(placement)] = dataclasses.replace(placement, epoch=7)
        for version, reason in decision.unloaded.items():
            del self.activities[version]
            self.evictions[version] = reason
        for version in decision.stray:
            del self.activities[version]
        for version in decision.past:
            del self.evictions[version]
        for one in decision.complete:
            self.deployments[version_of(one)] = dataclasses.replace(one, replaces=())
            for replaced in one.replaces:
                self.deployments.pop(key(one.model, replaced), None)
        return decision

    def view(self) -> View:
        self.reserved = remember(self.reserved, self.placements.values(), self.instances.values())
        return View(
            deployments=dict(self.deployments),
            jobs=self.internal(),
            workers=dict(self.workers),
            placements=list(self.placements.values()),
            instances=list(self.instances.values()),
            uses=self.uses,
            evicted=set(self.evictions),
            lingering=(),
            reserved=self.reserved,
            avoided=self.failures.avoided({**self.deployments, **self.internal()}),
            now_s=self.now_s,
        )

    def pending(self) -> list[tuple[str, ModelVersion]]:
        """Where an agent has something to do."""
        live = [site for site in self.placements if site[0] in self.workers]
        return sorted({*(s for s in live if not self._settled(s)), *(s for s in self.instances if s not in live)})

    def _settled(self, site: tuple[str, ModelVersion]) -> bool:
        instance = self.instances.get(site)
        return bool(instance and instance.state is READY and instance.options == self.placements[site].options)

    def step(self, site: tuple[str, ModelVersion]) -> None:
        """One agent takes one step with one instance: loads it, has loaded it, or unloads it."""
        instance, placement = self.instances.get(site), self.placements.get(site)
        if placement is None:
            if instance is None or instance.state is UNLOADING:
                self.instances.pop(site, None)
                self.needs.pop(site, None)
            else:
                self.instances[site] = dataclasses.replace(instance, state=UNLOADING)
            return
        if instance is None or instance.state is UNLOADING:
            instance = Instance(site[1].model, site[1].version, site[0], LOADING, options=placement.options)
        elif (site[0], site[1].model) in self.broken:
            state = LOADING if instance.state is FAILED else FAILED
            failures = instance.failures + (state is FAILED)
            instance = dataclasses.replace(instance, state=state, failures=failures, options=placement.options)
        else:
            instance = dataclasses.replace(instance, state=READY, options=placement.options)
        self.instances[site] = instance
        self.needs[site] = placement

    def settle(self, draw: random.Random | None = None, most: int = 400) -> list[Decision]:
        """Decide and take steps, in any order, until nothing changes; return the decisions that wrote something."""
        made: list[Decision] = []
        for _ in range(most):
            decision = self.decide()
            made += [decision] * bool(decision)
            pending = self.pending()
            if not decision and not pending:
                return made
            self.check()
            for site in draw.sample(pending, draw.randint(0, len(pending))) if draw else pending:
                self.step(site)
            self.check()
        raise AssertionError(f"not settled: {self.pending()}")

    def check(self) -> None:
        """Nothing is promised twice, nor held twice: not even what is on its way out."""
        held = {site: p for site, p in self.needs.items() if site in self.instances}
        for placements in (self.placements, {**self.placements, **held}):
            memory: Counter[str] = Counter()
            for (name, _), placement in placements.items():
                memory[name] += placement.resources.memory_bytes
            assert all(memory[name] <= w.memory_bytes for name, w in self.workers.items()), memory

    def placed(self, *, internal: bool = False) -> dict[str, list[str]]:
        """Which models are placed on which workers: those of users, or those of jobs."""
        found: dict[str, list[str]] = {}
        for name, version in sorted(self.placements, key=str):
            if self.placements[name, version].internal is internal:
                found.setdefault(str(version), []).append(name)
        return {version: sorted(names) for version, names in found.items()}

    def ready(self, version: ModelVersion, options: InstanceOptions | None = None) -> int:
        """How many replicas answer."""
        mine = [i for (_, v), i in self.instances.items() if v == version and i.state is READY]
        return sum(options is None or i.options == options for i in mine)


def on(*workers: str, **labels: str) -> Selector:
    return Selector(workers, tuple(sorted(labels.items())))


def names(count: int) -> Iterable[str]:
    return (f"w{n:03}" for n in range(count))
