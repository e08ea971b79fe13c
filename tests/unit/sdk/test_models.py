from __future__ import annotations

import pytest

from modelyard.aio import Client
from modelyard.catalogue import Lifecycle
from modelyard.errors import AbortedError, InvalidInputError, NotFoundError, UnavailableError
from tests.unit.fake_catalogue import EXPIRE_S
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


async def test_how_many_versions_are_kept_is_a_second_call(fakes: FakeSuite, client: Client) -> None:
    assert (await client.register_model("a", keep_last=3)).keep_last == 3
    await client.register_model("b", keep_last=0)
    assert fakes.registry.calls["UpdateModel"] == 1


async def test_only_what_is_given_is_changed(fakes: FakeSuite, client: Client) -> None:
    await client.register_model("a", description="old", labels={"team": "x", "stage": "dev"})
    changed = await client.update_model("a", labels={"team": "y"}, keep_last=0)
    assert list(fakes.registry.requests[-1].update_mask.paths) == ["labels", "keep_last"]
    assert (changed.description, changed.labels) == ("old", {"team": "y"})
    emptied = await client.update_model("a", description="", licence="MIT")
    assert (emptied.description, emptied.licence, emptied.labels) == ("", "MIT", {"team": "y"})
    with pytest.raises(InvalidInputError, match="expected something to change of description, labels"):
        await client.update_model("a", etag=emptied.etag)


async def test_an_etag_that_is_lost_changes_nothing(fakes: FakeSuite, client: Client) -> None:
    model = await client.register_model("a")
    newer = await client.update_model("a", description="new", etag=model.etag)
    with pytest.raises(AbortedError):
        await client.update_model("a", description="late", etag=model.etag)
    with pytest.raises(AbortedError):
        await client.delete_model("a", etag=model.etag)
    assert (await client.model("a")).description == "new"
    await client.delete_model("a", etag=newer.etag)


async def test_a_change_with_an_etag_is_not_tried_twice(fakes: FakeSuite, client: Client) -> None:
    model = await client.register_model("a")
    fakes.registry.failures["UpdateModel"] = [UnavailableError("away", retry_after_s=0.01) for _ in range(2)]
    with pytest.raises(UnavailableError):
        await client.update_model("a", description="x", etag=model.etag)
    assert (await client.update_model("a", description="y")).description == "y"


async def test_a_deleted_model_comes_back_unless_it_is_purged(fakes: FakeSuite, client: Client) -> None:
    await client.register_model("a")
    deleted = await client.delete_model("a")
    assert (deleted.state, deleted.expire_time_s) == (Lifecycle.DELETED, EXPIRE_S)
    assert await client.models() == []
    assert await client.models(show_deleted=True) == [deleted]
    assert (await client.undelete_model("a")).state is Lifecycle.ACTIVE
    await client.delete_model("a", purge=True)
    with pytest.raises(NotFoundError):
        await client.undelete_model("a")


async def test_a_version_is_not_named_where_a_model_is_meant(fakes: FakeSuite, client: Client) -> None:
    await client.register_model("a")
    fakes.registry.calls.clear()
    for attempt in (
        client.model("a@1"),
        client.versions("a@1"),
        client.register_model("a@1"),
        client.update_model("a@1", licence="MIT"),
        client.delete_model("a@1"),
        client.undelete_model("a@1"),
        client.delete_alias("a@1", "prod"),
    ):
        with pytest.raises(InvalidInputError, match="name: expected a model, got the version 'a@1'"):
            await attempt
    assert not fakes.registry.calls


async def test_what_no_message_can_hold_is_refused_by_name(client: Client) -> None:
    for attempt, message in (
        (client.update_model("a", keep_last=99999999999), "keep_last: expected an integer of at most 32 bits"),
        (client.models("\udcff"), "name_prefix: expected text"),
        (client.search("\udcff"), "filter: expected text"),
        (client.deploy("a", replicas=1 << 40), "replicas: expected an integer"),
        (client.infer("a", {"\udcff": [1.0]}), "name: expected text"),
        (client.infer("a", {"x": ["\udcff"]}), "expected text that UTF-8 can encode"),
        (anext(client.watch(1 << 64)), "start_revision: expected an integer of at most 64 bits"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            await attempt
