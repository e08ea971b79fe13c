"""The model repository: states of what is deployed, and waiting for what is loaded and unloaded."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources, Signature, Version
from modelyard.deployment import Deployment, Instance, InstanceState
from modelyard.errors import InvalidInputError, ModelExecutionError, NotFoundError, UnavailableError, UnimplementedError
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.tasks import background
from modelyard_scheduler.frontdoor import repository
from modelyard_scheduler.frontdoor.demand import Demand
from modelyard_scheduler.frontdoor.repository import Repository
from modelyard_scheduler.frontdoor.table import RoutingTable
from tests.runners import FakeRunner
from tests.waiting import eventually

ONE = ModelVersion("m", "1")
Load, Unload = messages.RepositoryModelLoadRequest, messages.RepositoryModelUnloadRequest


class Catalogue:
    """A registry and a controller: knows versions of `m`, writes deployments into etcd."""

    def __init__(self, etcd: Etcd, versions: list[str]) -> None:
        self.etcd = etcd
        self.versions = versions
        self.tenants: list[str] = []
        self.on_demand = False

    async def find_version(self, model: str, reference: str) -> Version:
        if model != "m" or (reference and reference not in self.versions):
            raise NotFoundError(f"model {model!r}: no such version {reference!r}")
        return Version("m", reference or self.versions[-1], "onnx", Signature(), Resources(), "d" * 64, 1)

    async def registered(self) -> AsyncIterator[ModelVersion]:
        for version in self.versions:
            yield ModelVersion("m", version)

    async def deploy(self, version: ModelVersion, tenant: str) -> None:
        self.tenants.append(tenant)
        wanted = Deployment(version.model, version.version, 1, Resources(), "d" * 64, "onnx", on_demand=self.on_demand)
        await self.etcd.put(keys.deployment(version.model, version.version), codec.encode(wanted))

    async def undeploy(self, model: str, version: str, tenant: str) -> list[ModelVersion]:
        ended = [ModelVersion(model, v) for v in self.versions if version in ("", v)]
        for one in ended:
            await self.etcd.delete(keys.deployment(model, one.version))
        return ended


class Suite:
    """A repository on a routing table that follows etcd."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd
        self.table = RoutingTable(etcd)
        self.catalogue = Catalogue(etcd, ["1", "2"])
        self.demand = Demand(etcd)
        self.repository = Repository(self.table, self.catalogue, self.demand)

    async def announce(self, instance: Instance) -> None:
        key = keys.instance(instance.worker, instance.model, instance.version)
        await self.etcd.put(key, codec.encode(instance))

    async def states(self, ready: bool = False) -> dict[str, tuple[str, str]]:
        answer = await self.repository.index(messages.RepositoryIndexRequest(ready=ready))
        return {f"{m.name}@{m.version}": (m.state, m.reason) for m in answer.models}


@pytest.fixture
async def suite(etcd: Etcd) -> AsyncIterator[Suite]:
    made = Suite(etcd)
    table = made.table
    mirrors = (table.deployments, table.instances, table.registries, table.schedulers)
    async with background(table.run(), *(mirror.run() for mirror in mirrors)):
        await table.wait_built()
        yield made
    await made.demand.close()


async def test_a_load_deploys_the_newest_version_and_waits_until_it_is_connected(suite: Suite) -> None:
    loading = asyncio.ensure_future(suite.repository.load(Load(model_name="m"), "acme", 30.0))
    async with FakeRunner(version="2").serve() as runner:
        await eventually(lambda: suite.table.versions("m") == ["2"])
        assert not loading.done()
        await suite.announce(runner.instance)
        await loading
        assert suite.catalogue.tenants == ["acme"]
        assert (await suite.states(ready=True)) == {"m@2": ("READY", "")}
        await suite.repository.load(Load(model_name="m"), "acme", 30.0)
        assert suite.catalogue.tenants == ["acme"]  # what is deployed is not deployed again


@pytest.mark.parametrize("request_", [Load(model_name="m"), Load(repository_name="m")])
async def test_the_version_can_be_named(suite: Suite, request_: messages.RepositoryModelLoadRequest) -> None:
    request_.parameters["version"].string_param = "1"
    async with FakeRunner().serve() as runner:
        await suite.announce(runner.instance)
        await suite.repository.load(request_, "default", 30.0)
    assert suite.table.versions("m") == ["1"]


async def test_a_load_ends_with_the_reason_why_it_failed(suite: Suite) -> None:
    failed = Instance("m", "2", "w0", InstanceState.FAILED, reason="no such operator")
    await suite.announce(failed)
    with pytest.raises(ModelExecutionError, match="model 'm@2': failed to load on w0: no such operator"):
        await suite.repository.load(Load(model_name="m"), "default", 30.0)
    assert (await suite.states())["m@2"] == ("UNAVAILABLE", "failed to load on w0: no such operator")


async def test_a_load_that_takes_too_long_is_worth_another_try(suite: Suite) -> None:
    with pytest.raises(UnavailableError, match="'m@2': not READY in time"):
        await suite.repository.load(Load(model_name="m"), "default", 0.01)


async def test_a_load_of_an_on_demand_deployment_asks_for_it(suite: Suite) -> None:
    suite.catalogue.on_demand = True
    loading = asyncio.ensure_future(suite.repository.load(Load(model_name="m"), "default", 30.0))
    await eventually(lambda: suite.etcd.get(keys.activity("m", "2")))
    assert (await suite.states())["m@2"] == ("UNAVAILABLE", "loaded at its first call")
    async with FakeRunner(version="2").serve() as runner:
        await suite.announce(runner.instance)
        await loading


async def test_an_unload_waits_until_nothing_is_routed_there(suite: Suite) -> None:
    async with FakeRunner().serve() as runner:
        await suite.catalogue.deploy(ONE, "default")
        await suite.announce(runner.instance)
        await eventually(lambda: any(s.connected for s in suite.table.streams(ONE)))
        await suite.repository.unload(Unload(model_name="m"), "default", 30.0)
        assert not suite.table.streams(ONE)
        assert suite.table.route("m", "1") is None


async def test_states(suite: Suite) -> None:
    await suite.catalogue.deploy(ONE, "default")
    await eventually(lambda: suite.table.versions("m") == ["1"])
    assert await suite.states() == {
        "m@1": ("LOADING", "no instance of it yet"),
        "m@2": ("UNAVAILABLE", "not deployed"),
    }
    instance = Instance("m", "1", "w0", InstanceState.LOADING)
    await suite.announce(instance)
    await eventually(lambda: bool(suite.table.instances.items))
    assert (await suite.states())["m@1"] == ("LOADING", "")
    await suite.announce(dataclasses.replace(instance, state=InstanceState.READY, endpoint="127.0.0.1:1"))
    await eventually(lambda: suite.table.instances.items["w0/m@1"].state is InstanceState.READY)
    assert (await suite.states())["m@1"] == ("READY", "")


async def test_no_more_versions_are_listed_than_the_bound(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "MAX_INDEXED", 3)
    suite.catalogue.versions = [str(n) for n in range(10)]
    assert len(await suite.states()) == 3


@pytest.mark.parametrize(
    ("model", "name", "value", "said"),
    [
        ("", "version", "1", "model_name: expected the name of a model"),
        ("m", "config", "{}", "parameter 'config': expected one of version"),
        ("m", "version", 1, "parameter 'version': expected a text, got int64_param 1"),
        ("m", "version", "", "parameter 'version': expected a text that is not empty, got an empty one"),
    ],
)
async def test_refusals(suite: Suite, model: str, name: str, value: str | int, said: str) -> None:
    request = Load(model_name=model)
    setattr(request.parameters[name], "int64_param" if isinstance(value, int) else "string_param", value)
    with pytest.raises(InvalidInputError) as refused:
        await suite.repository.load(request, "default", 1.0)
    assert refused.value.message.startswith(said)
    assert suite.catalogue.tenants == []


async def test_there_is_one_repository(suite: Suite) -> None:
    with pytest.raises(UnimplementedError, match="there is one repository"):
        await suite.repository.index(messages.RepositoryIndexRequest(repository_name="other"))
    with pytest.raises(UnimplementedError, match="there is one repository"):
        await suite.repository.load(Load(repository_name="other", model_name="m"), "default", 1.0)
