"""Aliases: moved atomically, written down, moved back, and not moved to what breaks their callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from modelyard import keys
from modelyard.catalogue import Alias, Model, Resources, Signature, TensorSpec, Version
from modelyard.errors import AbortedError, AlreadyExistsError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Etcd
from modelyard_registry.catalogue import Catalogue, aliases
from tests.integration.registry.remote import Remote, refused

DIGEST = "0" * 64


def draft(datatype: str = "FP32") -> Version:
    signature = Signature((TensorSpec("x", datatype, (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),))
    return Version("digits", "", "onnx", signature, Resources(), DIGEST, 10)


@pytest.fixture
async def catalogue(etcd: Etcd) -> Catalogue:
    """The model `digits` has the versions 1 to 4; the last takes other tensors."""
    found = Catalogue(etcd, 3600.0)
    await found.models.register(Model("digits"))
    for datatype in ("FP32", "FP32", "FP32", "INT64"):
        await found.publications.publish(draft(datatype))
    return found


async def point(catalogue: Catalogue, *versions: str) -> None:
    for version in versions:
        await catalogue.aliases.set("digits", Alias("prod", version))


async def current(catalogue: Catalogue) -> str:
    return (await catalogue.versions.get("digits", "prod")).version


async def moves(catalogue: Catalogue, alias: str = "prod") -> list[tuple[str, str]]:
    found = [change for _, change in await catalogue.aliases.history("digits", alias, 0, 100)]
    return [(change.from_version, change.to_version) for change in found]


async def test_history_says_who_when_from_and_to(
    catalogue: Catalogue, registry: Remote, as_tenant: Callable[[str], Remote]
) -> None:
    await as_tenant("ann")("SetAlias", model="digits", alias="prod", version="1")
    await as_tenant("bob")("SetAlias", model="digits", alias="canary", version="2")
    await as_tenant("bob")("SetAlias", model="digits", alias="prod", version="2")
    moved = await as_tenant("ann")("RollbackAlias", model="digits", alias="prod")
    assert (moved.version, moved.tenant) == ("1", "ann")
    await as_tenant("cat")("DeleteAlias", model="digits", alias="prod")
    found = (await registry("ListAliasHistory", model="digits", alias="prod")).changes
    assert [(c.number, c.tenant, c.from_version, c.to_version, c.rollback) for c in found] == [
        (4, "cat", "1", "", False),
        (3, "ann", "2", "1", True),
        (2, "bob", "1", "2", False),
        (1, "ann", "", "1", False),
    ]
    times = [c.time.ToNanoseconds() for c in found]
    assert times == sorted(times, reverse=True)
    assert times[-1] > 0
    everything = (await registry("ListAliasHistory", model="digits")).changes
    assert [c.alias for c in everything] == ["prod", "prod", "prod", "canary", "prod"]


async def test_history_in_pages(catalogue: Catalogue, registry: Remote) -> None:
    await point(catalogue, "1", "2", "3", "1", "2")
    numbers, token = [], ""
    while True:
        page = await registry("ListAliasHistory", model="digits", alias="prod", page_size=2, page_token=token)
        numbers += [c.number for c in page.changes]
        token = page.next_page_token
        if not token:
            break
    assert numbers == [5, 4, 3, 2, 1]
    await refused(InvalidInputError, registry("ListAliasHistory", model="digits", page_token="x"))
    await refused(InvalidInputError, registry("ListAliasHistory", model="digits", page_token="9" * 5000))
    await refused(NotFoundError, registry("ListAliasHistory", model="nobody"))
    await refused(NotFoundError, registry("ListAliasHistory", model="digits", alias="nobody"))


async def test_a_move_to_where_it_is_changes_nothing(catalogue: Catalogue) -> None:
    await point(catalogue, "1")
    before = await catalogue.aliases.set("digits", Alias("prod", "1", tenant="other"))
    assert before.tenant == "default"
    assert await moves(catalogue) == [("", "1")]


async def test_roll_backs_go_further_and_further_back(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2", "3")
    for expected in ("2", "1"):
        await catalogue.aliases.roll_back("digits", "prod", "default")
        assert await current(catalogue) == expected
    with pytest.raises(PreconditionError, match="it pointed at nothing before"):
        await catalogue.aliases.roll_back("digits", "prod", "default")
    assert await current(catalogue) == "1"


async def test_a_move_after_a_roll_back_is_rolled_back_to_where_that_led(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2")
    await catalogue.aliases.roll_back("digits", "prod", "default")
    await point(catalogue, "3")
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "1"


async def test_a_deleted_alias_is_brought_back(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2")
    await catalogue.aliases.delete("digits", "prod", "default")
    with pytest.raises(NotFoundError):
        await catalogue.versions.get("digits", "prod")
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "2"
    await catalogue.aliases.delete("digits", "prod", "default")
    await point(catalogue, "2")
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "1"


async def test_no_roll_back_to_what_is_deleted(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2")
    await catalogue.versions.delete("digits", "1")
    with pytest.raises(PreconditionError, match="digits@1: it is deleted"):
        await catalogue.aliases.roll_back("digits", "prod", "default")
    await catalogue.versions.undelete("digits", "1")
    await catalogue.aliases.roll_back("digits", "prod", "default")
    with pytest.raises(NotFoundError, match="no alias 'nobody'"):
        await catalogue.aliases.roll_back("digits", "nobody", "default")


async def test_no_roll_back_to_what_is_purged_even_if_an_alias_has_its_name_by_now(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2")
    await catalogue.versions.delete("digits", "1", purge=True)
    await catalogue.aliases.set("digits", Alias("1", "3"))
    with pytest.raises(PreconditionError, match="it pointed at nothing before that is still there"):
        await catalogue.aliases.roll_back("digits", "prod", "default")
    assert await current(catalogue) == "2"


async def test_a_roll_back_passes_over_what_is_purged(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2", "3")
    await catalogue.versions.delete("digits", "2", purge=True)
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "1"


async def test_a_roll_back_is_not_named_like_a_version(catalogue: Catalogue) -> None:
    await point(catalogue, "1", "2")
    await catalogue.aliases.delete("digits", "prod", "default")
    await catalogue.publications.publish(Version("digits", "prod", "onnx", Signature(), Resources(), DIGEST, 10))
    with pytest.raises(AlreadyExistsError, match="a version has that name"):
        await catalogue.aliases.roll_back("digits", "prod", "default")


async def test_what_breaks_callers_is_refused_unless_forced(catalogue: Catalogue, registry: Remote) -> None:
    await point(catalogue, "1")
    said = {"model": "digits", "alias": "prod", "version": "4"}
    message = await refused(PreconditionError, registry("SetAlias", **said))
    assert "version 4 breaks callers of 1: input 'x': expected FP32 [-1, 4], got INT64 [-1, 4]" in message
    assert "force" in message
    assert await current(catalogue) == "1"
    assert (await registry("SetAlias", **said, force=True)).version == "4"
    assert (await registry("RollbackAlias", model="digits", alias="prod")).version == "1"


async def test_a_new_alias_breaks_nobody(catalogue: Catalogue) -> None:
    await point(catalogue, "4")
    assert await current(catalogue) == "4"


async def test_etags_of_aliases(catalogue: Catalogue, registry: Remote) -> None:
    said = {"model": "digits", "alias": "prod"}
    first = await registry("SetAlias", **said, version="1", etag="0")
    assert "expected etag 0" in await refused(AbortedError, registry("SetAlias", **said, version="2", etag="0"))
    second = await registry("SetAlias", **said, version="2", etag=first.etag)
    await refused(AbortedError, registry("SetAlias", **said, version="3", etag=first.etag))
    await refused(AbortedError, registry("RollbackAlias", **said, etag=first.etag))
    assert (await registry("GetModel", name="digits")).aliases[0] == second
    await registry("RollbackAlias", **said, etag=second.etag)
    await refused(AbortedError, registry("SetAlias", model="digits", alias="new", version="1", etag="5"))


async def test_many_moves_at_once_make_one_line(catalogue: Catalogue, etcd: Etcd) -> None:
    replicas = [catalogue, Catalogue(etcd, 3600.0)]
    await asyncio.gather(*(replicas[n % 2].aliases.set("digits", Alias("prod", str(n % 3 + 1))) for n in range(30)))
    line = list(reversed(await moves(catalogue)))
    assert line[0][0] == ""
    assert [was for was, _ in line[1:]] == [now for _, now in line[:-1]]
    assert line[-1][1] == await current(catalogue)


async def test_old_changes_are_forgotten(catalogue: Catalogue, etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "KEPT_CHANGES", 4)
    await point(catalogue, "1", "2", "3", "1", "2")
    assert len(await etcd.keys(keys.history("digits", "prod"))) == 4
    for expected in ("1", "3"):
        assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == expected
    with pytest.raises(PreconditionError):
        await catalogue.aliases.roll_back("digits", "prod", "default")
