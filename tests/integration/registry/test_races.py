"""Two registries change the same at once: here always with the other one in between this one's look and its commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Model, Resources, Signature, Version
from modelyard.deployment import Deployment
from modelyard.errors import AlreadyExistsError, NotFoundError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, Put
from modelyard_registry.service import Catalogue
from tests.servers import ProgramServer

DIGEST, OTHER = "0" * 64, "1" * 64


def draft(version: str = "", digest: str = DIGEST, time_s: float = 0.0) -> Version:
    return Version("digits", version, "onnx", Signature(), Resources(), digest, 10, create_time_s=time_s)


class OvertakenEtcd(Etcd):
    """An etcd where `rival` comes first at the next commit."""

    rival: Callable[[], Awaitable[object]] | None = None

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
    catalogue = Catalogue(etcd)
    await catalogue.register(Model("digits", tenant="first"))
    await catalogue.publish(draft())
    return catalogue


@pytest.fixture
async def catalogue(overtaken: OvertakenEtcd, rival: Catalogue) -> Catalogue:
    return Catalogue(overtaken)


async def state(etcd: Etcd) -> set[str]:
    """Everything registered, as paths below the models."""
    return {key.removeprefix(keys.MODELS) for key in await etcd.keys(keys.MODELS)}


async def deploy(etcd: Etcd) -> None:
    await etcd.put(
        keys.deployment("digits", "1"), codec.encode(Deployment("digits", "1", 1, Resources(), DIGEST, "onnx"))
    )


async def test_many_publish_at_once(etcd: Etcd, rival: Catalogue) -> None:
    replicas = [rival, Catalogue(etcd), Catalogue(etcd)]
    published = await asyncio.gather(*(replicas[n % 3].publish(draft()) for n in range(60)))
    assert sorted(int(v.version) for v in published) == list(range(2, 62))


async def test_a_number_that_is_taken_is_followed_by_the_next(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publish(draft())
    assert (await catalogue.publish(draft())).version == "3"


async def test_of_two_with_one_name_the_first_wins(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publish(draft("v1", OTHER))
    with pytest.raises(AlreadyExistsError, match=OTHER[:12]):
        await catalogue.publish(draft("v1"))
    assert (await rival.version("digits", "v1")).manifest_digest == OTHER


async def test_of_two_with_one_name_and_content_both_win(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publish(draft("v1", time_s=1.0))
    assert await catalogue.publish(draft("v1", time_s=2.0)) == draft("v1", time_s=1.0)


async def test_a_version_does_not_outlive_its_model(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.delete_model("digits")
    with pytest.raises(NotFoundError):
        await catalogue.publish(draft())
    assert await state(overtaken) == set()


async def test_a_version_is_not_named_like_an_alias(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.set_alias("digits", Alias("prod", "1"))
    with pytest.raises(AlreadyExistsError, match="alias"):
        await catalogue.publish(draft("prod"))
    assert await state(overtaken) == {"digits", "digits/versions/1", "digits/aliases/prod"}


async def test_an_alias_is_not_named_like_a_version(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.publish(draft("prod"))
    with pytest.raises(AlreadyExistsError, match="version"):
        await catalogue.set_alias("digits", Alias("prod", "1"))
    assert await state(overtaken) == {"digits", "digits/versions/1", "digits/versions/prod"}


async def test_an_alias_does_not_bring_a_deleted_version_back(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.delete_version("digits", "1")
    with pytest.raises(NotFoundError):
        await catalogue.set_alias("digits", Alias("prod", "1"))
    assert await state(overtaken) == {"digits"}


async def test_a_version_that_has_just_got_an_alias_is_not_deleted(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.set_alias("digits", Alias("prod", "1"))
    with pytest.raises(PreconditionError, match="'prod'"):
        await catalogue.delete_version("digits", "1")
    assert await state(overtaken) == {"digits", "digits/versions/1", "digits/aliases/prod"}


async def test_what_has_just_been_deployed_is_not_deleted(catalogue: Catalogue, overtaken: OvertakenEtcd) -> None:
    overtaken.rival = lambda: deploy(overtaken)
    with pytest.raises(PreconditionError, match="undeploy"):
        await catalogue.delete_version("digits", "1")
    await overtaken.delete(keys.deployment("digits", "1"))
    overtaken.rival = lambda: deploy(overtaken)
    with pytest.raises(PreconditionError, match="undeploy"):
        await catalogue.delete_model("digits")
    assert await state(overtaken) == {"digits", "digits/versions/1"}


async def test_a_model_that_has_just_been_changed_is_deleted(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.register(Model("digits", "new"))
    await catalogue.delete_model("digits")
    assert await state(overtaken) == set()


async def test_whoever_registers_first_owns_the_model(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.register(Model("letters", "first", tenant="first"))
    registered = await catalogue.register(Model("letters", "second", tenant="second"))
    assert registered == await rival.model("letters")
    assert (registered.tenant, registered.description) == ("first", "second")


async def test_a_model_that_has_just_been_deleted_is_made_anew(
    catalogue: Catalogue, rival: Catalogue, overtaken: OvertakenEtcd
) -> None:
    overtaken.rival = lambda: rival.delete_model("digits")
    assert (await catalogue.register(Model("digits", tenant="second"))).tenant == "second"
    assert await state(overtaken) == {"digits"}
