"""What a leader does with the version of a training: on a real etcd, with a registry that says what it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model, Resources, Signature, Version
from modelyard.deployment import InstanceOptions, Selector
from modelyard.errors import AbortedError, ExhaustedError, NotFoundError, PreconditionError, UnavailableError
from modelyard.etcd import Etcd
from modelyard.jobs.release import description
from modelyard.jobs.training import Objective, Release
from modelyard_scheduler.jobs.leader.release import Releases
from modelyard_scheduler.orders import Order
from modelyard_scheduler.service import Deployments
from tests.unit.scheduler.jobs.leader.trainers import SPEC
from tests.unit.scheduler.jobs.term import Stage

BEST = replace(SPEC, objective=Objective("accuracy", higher_is_better=True))


@dataclass
class Registry:
    """What it has, in etcd, too, where who deploys looks; `away`: what it raises instead."""

    etcd: Etcd
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    away: Exception | None = None
    refuses: Exception | None = None

    async def publish(self, name: str, accuracy: float | None, said: str = "") -> None:
        metrics = {} if accuracy is None else {"accuracy": accuracy}
        time_s = float(name)
        version = Version(
            "new", name, "onnx", Signature(), Resources(), "d" * 64, 1000, {}, said, "default", time_s, metrics=metrics
        )
        await self.etcd.put(keys.model("new"), codec.encode(Model("new")))
        await self.etcd.put(keys.version("new", name), codec.encode(version))
        found = await self.etcd.get(keys.version("new", name))
        assert found
        self.versions[name] = replace(version, etag=str(found.mod_revision))

    async def find(self, model: str, reference: str) -> Version:
        if self.away:
            raise self.away
        if reference not in {*self.versions, *self.aliases}:
            raise NotFoundError(f"no {reference}")
        return self.versions[self.aliases.get(reference, reference)]

    async def set_alias(self, version: Version, alias: str, tenant: str) -> None:
        if self.refuses:
            raise self.refuses
        self.aliases[alias] = version.version


@pytest.fixture
def registry(stage: Stage) -> Registry:
    return Registry(stage.etcd)


@pytest.fixture
def deployments(stage: Stage, registry: Registry) -> Deployments:
    return Deployments(stage.etcd, stage.state, registry.find)


@pytest.fixture
def releases(deployments: Deployments, registry: Registry) -> Releases:
    return Releases(deployments, registry.find, registry.set_alias, leads)


async def leads() -> None:
    """The term lasts."""


async def test_a_version_is_pointed_at_and_deployed_once(
    registry: Registry, releases: Releases, deployments: Deployments
) -> None:
    await registry.publish("1", 0.5)
    spec = replace(BEST, release=Release("best", deploy=True, if_better=True))
    assert await releases.release(spec, "1", "acme") == ""
    assert registry.aliases == {"best": "1"}
    (made,) = (await deployments.of_model("new")).values()
    assert (made.version, made.replicas, made.tenant, made.replaces) == ("1", 1, "acme", ())
    # Who leads next finds it done.
    assert await releases.release(spec, "1", "acme") == ""
    assert (await deployments.of_model("new")) == {"1": made}


async def test_a_better_one_replaces_what_is_deployed_as_that_is(
    registry: Registry, releases: Releases, deployments: Deployments
) -> None:
    await registry.publish("1", 0.5)
    options, on = InstanceOptions(threads=2, max_batch_size=8), Selector(labels=(("zone", "a"),))
    await deployments.deploy(Order("new", "1", 2, options, on, on_demand=True, idle_s=9.0), "acme")
    await registry.publish("2", 0.6)
    assert await releases.release(replace(BEST, release=Release(deploy=True, if_better=True)), "2", "acme") == ""
    found = await deployments.of_model("new")
    made = found["2"]
    assert (made.replicas, made.options, made.on, made.on_demand, made.idle_s) == (2, options, on, True, 9.0)
    assert made.replaces == ("1",)
    assert registry.aliases == {}


@pytest.mark.parametrize(
    ("accuracy", "reason"),
    [
        (0.5, "version 2 is not better than version 1: accuracy 0.5, that one's 0.5"),
        (None, "version 2 has no finite accuracy to be compared with that of version 1"),
    ],
)
async def test_what_is_not_better_takes_nobodys_place(
    registry: Registry, releases: Releases, deployments: Deployments, accuracy: float | None, reason: str
) -> None:
    await registry.publish("1", 0.5)
    registry.aliases["best"] = "1"
    await deployments.deploy(Order("new", "1"), "acme")
    await registry.publish("2", accuracy)
    spec = replace(BEST, release=Release("best", deploy=True, if_better=True))
    undone = await releases.release(spec, "2", "acme")
    assert undone == f"the alias 'best' was not moved: {reason}; it was not deployed: {reason}"
    assert registry.aliases == {"best": "1"}
    assert set(await deployments.of_model("new")) == {"1"}
    # Without that condition it does.
    assert await releases.release(replace(spec, release=Release("best", deploy=True)), "2", "acme") == ""
    assert registry.aliases == {"best": "2"}
    assert set(await deployments.of_model("new")) == {"1", "2"}


async def test_weights_alone_are_neither(registry: Registry, releases: Releases, deployments: Deployments) -> None:
    await registry.publish("1", 0.5, description("job-1", 3, "onnx: ValueError: odd"))
    reason = await releases.release(replace(BEST, release=Release("best", deploy=True)), "1", "acme")
    assert reason == "version 1 is weights only, it could not be exported: onnx: ValueError: odd"
    assert registry.aliases == {}
    assert await deployments.of_model("new") == {}


async def test_what_refuses_one_of_both_leaves_the_other(
    registry: Registry, releases: Releases, deployments: Deployments
) -> None:
    await registry.publish("1", 0.5)
    registry.refuses = PreconditionError("it breaks callers")
    reason = await releases.release(replace(BEST, release=Release("best", deploy=True)), "1", "acme")
    assert reason == "the alias 'best' was not moved: it breaks callers"
    assert set(await deployments.of_model("new")) == {"1"}


async def test_a_version_that_fits_nowhere_and_one_that_is_deleted(
    stage: Stage, registry: Registry, releases: Releases
) -> None:
    await registry.publish("1", 0.5)
    spec = replace(BEST, release=Release(deploy=True))
    registry.versions["1"] = replace(registry.versions["1"], resources=Resources(cpu=64.0))
    assert "it was not deployed: new@1: no live worker can hold it" in await releases.release(spec, "1", "acme")
    registry.versions["1"] = replace(registry.versions["1"], state=Lifecycle.DELETED)
    assert await releases.release(spec, "1", "acme") == "it was not deployed: new@1: it is deleted; undelete it first"
    assert await releases.release(spec, "7", "acme") == "no 7"
    registry.away = UnavailableError("no registry is live")
    with pytest.raises(UnavailableError, match="no registry is live"):
        await releases.release(spec, "1", "acme")
    registry.away = ExhaustedError("too much")
    assert await releases.release(spec, "1", "acme") == "too much"


@pytest.mark.parametrize("deposed_at", ["alias", "deployment"])
async def test_a_deposed_leader_releases_nothing(stage: Stage, registry: Registry, deposed_at: str) -> None:
    await registry.publish("1", 0.5)
    deposed = await stage.lead()
    find = registry.find

    async def late(model: str, reference: str) -> Version:
        """Another one leads by the time of the answer that it decides by."""
        if reference == ("best" if deposed_at == "alias" else "1"):
            await stage.lead()
        return await find(model, reference)

    deployments = Deployments(stage.etcd, stage.state, late, [deposed.context.term.fence])
    releases = Releases(deployments, late, registry.set_alias, deposed.context.check_leads)
    release = Release("best") if deposed_at == "alias" else Release(deploy=True)
    with pytest.raises(AbortedError, match="another one leads"):
        await releases.release(replace(BEST, release=release), "1", "acme")
    assert (registry.aliases, await deployments.of_model("new")) == ({}, {})
