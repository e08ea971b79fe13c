from __future__ import annotations

from modelyard.aio import Client
from modelyard.errors import UnavailableError
from tests.unit.fakes import FakeSuite


async def test_all_pages_are_read(fakes: FakeSuite, client: Client) -> None:
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        await client.register_model(name, labels={"n": name})
    assert [model.name for model in await client.models()] == names
    assert fakes.registry.calls["ListModels"] == 3
    assert [model.labels for model in await client.models("c")] == [{"n": "c"}]


async def test_a_page_that_fails_is_asked_for_again(fakes: FakeSuite, client: Client) -> None:
    await client.register_model("a")
    fakes.registry.failures["ListModels"] = [UnavailableError("away", retry_after_s=0.01)]
    assert len(await client.models()) == 1


async def test_a_model_is_deleted(fakes: FakeSuite, client: Client) -> None:
    await client.register_model("a")
    await client.delete_model("a")
    assert not fakes.registry.models
