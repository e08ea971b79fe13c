"""Two registries change the same at once: here always with the other one in between this one's look and its commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Model, Resources, Signature, Version
from modelyard.deployment import Deployment
from modelyard.errors import AlreadyExistsError, NotFoundError, PreconditionError, UnavailableError
from modelyard.etcd import Compare, Delete, Etcd, KeyValue, Put
from modelyard_registry.catalogue import Catalogue
from modelyard_registry.catalogue.retention import Retention
from tests.servers import ProgramServer

GRACE_S = 3600.0
DIGEST, OTHER = "0" * 64, "1" * 64


def draft(version: str = "", digest: str = DIGEST, time_s: float = 0.0) -> Version:
    return Version("digits", version, "onnx", Signature(), Resources(), digest, 10, create_time_s=time_s)


class OvertakenEtcd(Etcd):
    """An etcd where `rival` comes first at the next commit, and `reader` right after the next look at an alias."""

    rival: Callable[[], Awaitable[object]] | None = None
    reader: Callable[[], Awaitable[object]] | None = None

    async def get(self, key: str) -> KeyValue | None:
        found = await super().get(key)
        if self.reader and "/aliases/" in key:
            reader, self.reader = self.reader, None
            await reader()
        return found

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        if self.rival:
            rival, self.rival = self.rival, None
            await rival()
        return await super().commit(compares, operations)


@pytest.fixture
async def overtaken(etcd_server: ProgramServer) -> AsyncIterator[OvertakenEtcd]:
    client = OvertakenEtcd(etcd_server.endpoint)
    yield client
    await client.close()


@pytest.fixture
async def rival(etcd: Etcd) -> Catalogue:
    """The other registry; the model `digits` has the version 1."""
    catalogue = Catalogue(etcd, GRACE_S)
    await catalogue.models.register(Model("digits", tenant="first"))
    await catalogue.publications.publish(draft())
    return catalogue


@pytest.fixture
async def catalogue(overtaken: OvertakenEtcd, rival: Catalogue) -> Catalogue:
    return Catalogue(overtaken, GRACE_S)


async def state(etcd: Etcd) -> set[str]:
    """Models, versions and aliases, as paths below the models."""
    found = {key.removeprefix(keys.MODELS) for key in await etcd.keys(keys.MODELS)}
    return {key for key in found if not key.endswith("/number") and "/history/" not in key}


async def deploy(etcd: Etcd) -> None:
    await etcd.put(
        keys.deployment("digits", "1"), codec.encode(Deployment("digits", "1", 1, Resources(), DIGEST, "onnx"))
    )


async def test_many_publish_at_once(etcd: Etcd, rival: Catalogue) -> None:
    replicas = [rival, Catalogue(etcd, GRACE_S), Catalogue(etcd, GRACE_S)]
    published = await asyncio.gather(*(replicas[n % 3].publications.publish(draft()) for n in range(60)))
    assert sorted(int(v.version) for v in published) == list(range(2, 62))


async def test_a_number_that_is_taken_is_followed_by_the_next(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publications.publish(draft())
    assert (await catalogue.publications.publish(draft())).version == "3"


async def test_a_higher_number_is_not_forgotten(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publications.publish(draft("7"))
    await catalogue.publications.publish(draft())
    await rival.versions.delete("digits", "7", purge=True)
    assert (await catalogue.publications.publish(draft())).version > "7"


async def test_nothing_is_published_in_a_model_that_has_just_been_deleted(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.models.delete("digits")
    with pytest.raises(PreconditionError, match="it is deleted"):
        await catalogue.publications.publish(draft())
    assert await state(overtaken) == {"digits", "digits/versions/1"}


async def test_of_two_with_one_name_the_first_wins(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publications.publish(draft("v1", OTHER))
    with pytest.raises(AlreadyExistsError, match=OTHER[:12]):
        await catalogue.publications.publish(draft("v1"))
    assert (await rival.versions.get("digits", "v1")).manifest_digest == OTHER


async def test_of_two_with_one_name_and_content_both_win(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publications.publish(draft("v1", time_s=1.0))
    assert await catalogue.publications.publish(draft("v1", time_s=2.0)) == await rival.versions.get("digits", "v1")
    assert (await rival.versions.get("digits", "v1")).create_time_s == 1.0


async def test_a_version_does_not_outlive_its_model(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.models.delete("digits", purge=True)
    with pytest.raises(NotFoundError):
        await catalogue.publications.publish(draft())
    assert await state(overtaken) == set()


async def test_a_version_is_not_named_like_an_alias(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.aliases.set("digits", Alias("prod", "1"))
    with pytest.raises(AlreadyExistsError, match="alias"):
        await catalogue.publications.publish(draft("prod"))
    assert await state(overtaken) == {"digits", "digits/versions/1", "digits/aliases/prod"}


async def test_an_alias_is_not_named_like_a_version(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publications.publish(draft("prod"))
    with pytest.raises(AlreadyExistsError, match="version"):
        await catalogue.aliases.set("digits", Alias("prod", "1"))
    assert await state(overtaken) == {"digits", "digits/versions/1", "digits/versions/prod"}


async def test_an_alias_does_not_bring_a_deleted_version_back(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.versions.delete("digits", "1", purge=True)
    with pytest.raises(NotFoundError):
        await catalogue.aliases.set("digits", Alias("prod", "1"))
    assert await state(overtaken) == {"digits"}


async def test_a_version_that_has_just_got_an_alias_is_not_deleted(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.aliases.set("digits", Alias("prod", "1"))
    with pytest.raises(PreconditionError, match="'prod'"):
        await catalogue.versions.delete("digits", "1", purge=True)
    assert await state(overtaken) == {"digits", "digits/versions/1", "digits/aliases/prod"}


async def test_what_has_just_been_deployed_is_not_deleted(catalogue: Catalogue, overtaken: OvertakenEtcd) -> None:
    overtaken.rival = lambda: deploy(overtaken)
    with pytest.raises(PreconditionError, match="undeploy"):
        await catalogue.versions.delete("digits", "1", purge=True)
    await overtaken.delete(keys.deployment("digits", "1"))
    overtaken.rival = lambda: deploy(overtaken)
    with pytest.raises(PreconditionError, match="undeploy"):
        await catalogue.models.delete("digits", purge=True)
    assert await state(overtaken) == {"digits", "digits/versions/1"}


async def test_what_a_job_has_just_begun_to_use_is_not_deleted(catalogue: Catalogue, overtaken: OvertakenEtcd) -> None:
    wish = Deployment("digits", "1", 1, Resources(), "d" * 64, "onnx")
    overtaken.rival = lambda: overtaken.put(keys.job("digits", "1", "a"), codec.encode(wish))
    with pytest.raises(PreconditionError, match="jobs use it: a"):
        await catalogue.versions.delete("digits", "1", purge=True)
    await overtaken.delete(keys.job("digits", "1", "a"))
    overtaken.rival = lambda: overtaken.put(keys.job("digits", "1", "b"), codec.encode(wish))
    with pytest.raises(PreconditionError, match="jobs use it: b"):
        await catalogue.models.delete("digits", purge=True)
    assert await state(overtaken) == {"digits", "digits/versions/1"}


async def test_a_model_that_has_just_been_changed_is_deleted(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.models.register(Model("digits", "new"))
    await catalogue.models.delete("digits", purge=True)
    assert await state(overtaken) == set()


async def test_an_alias_that_moves_under_the_look_is_found(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    await rival.publications.publish(draft())
    await rival.aliases.set("digits", Alias("prod", "1"))

    async def move(*, purge: bool) -> None:
        await rival.aliases.set("digits", Alias("prod", "2" if purge else "3"))
        await rival.versions.delete("digits", "1" if purge else "2", purge=purge)

    overtaken.reader = lambda: move(purge=True)
    assert (await catalogue.versions.get("digits", "prod")).version == "2"
    await rival.publications.publish(draft())
    overtaken.reader = lambda: move(purge=False)
    assert (await catalogue.versions.get("digits", "prod")).version == "3"


async def test_retention_does_not_take_what_has_become_one_of_the_last(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    for _ in range(2):
        await rival.publications.publish(draft())
    await etcd_update(overtaken, keep_last=2)
    overtaken.rival = lambda: rival.versions.delete("digits", "3")
    await Retention(overtaken, GRACE_S).apply("digits")
    assert [v.version for v in await rival.versions.page("digits", "", 9)] == ["1", "2"]


async def etcd_update(etcd: Etcd, *, keep_last: int) -> None:
    """Set what a model keeps without applying it."""
    await etcd.put(keys.model("digits"), codec.encode(Model("digits", keep_last=keep_last)))


async def test_a_publication_is_done_though_retention_fails(
    catalogue: Catalogue, overtaken: OvertakenEtcd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(prefix: str) -> object:
        raise UnavailableError("etcd is away")

    await etcd_update(overtaken, keep_last=1)
    monkeypatch.setattr(overtaken, "list", away)
    assert (await catalogue.publications.publish(draft())).version == "2"
    assert "retention not applied" in caplog.text


async def test_nothing_of_a_model_changes_that_has_just_been_deleted(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    await rival.publications.publish(draft())
    await rival.aliases.set("digits", Alias("prod", "1"))
    await rival.versions.delete("digits", "2")
    for attempt in (
        lambda: catalogue.versions.update("digits", "1", {"description": "new"}),
        lambda: catalogue.versions.undelete("digits", "2"),
        lambda: catalogue.aliases.delete("digits", "prod", "default"),
        lambda: catalogue.aliases.set("digits", Alias("new", "1")),
    ):
        overtaken.rival = lambda: rival.models.delete("digits")
        with pytest.raises(PreconditionError, match="model 'digits': it is deleted"):
            await attempt()
        await rival.models.undelete("digits")


async def test_whoever_registers_first_owns_the_model(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.models.register(Model("letters", "first", tenant="first"))
    registered = await catalogue.models.register(Model("letters", "second", tenant="second"))
    assert registered == await rival.models.get("letters")
    assert (registered.tenant, registered.description) == ("first", "second")


async def test_a_model_that_has_just_been_deleted_is_made_anew(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.models.delete("digits", purge=True)
    assert (await catalogue.models.register(Model("digits", tenant="second"))).tenant == "second"
    assert await state(overtaken) == {"digits"}
