"""Canaries: a second version of an alias gets a share of its calls; it is validated, written down and in use."""

from __future__ import annotations

import pytest

from modelyard.catalogue import Alias, Model
from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Etcd
from modelyard_registry.catalogue import Catalogue
from tests.integration.registry.remote import Remote
from tests.integration.registry.test_aliases import current, draft, point


@pytest.fixture
async def catalogue(etcd: Etcd) -> Catalogue:
    """The model `digits` has the versions 1 to 4; the last takes other tensors."""
    found = Catalogue(etcd, 3600.0)
    await found.models.register(Model("digits"))
    for datatype in ("FP32", "FP32", "FP32", "INT64"):
        await found.publications.publish(draft(datatype))
    return found


async def split(catalogue: Catalogue, version: str, canary: str, percent: float = 10.0) -> Alias:
    alias = Alias("prod", version, canary_version=canary, canary_percent=percent)
    return await catalogue.aliases.set("digits", alias)


async def shares(catalogue: Catalogue) -> tuple[str, str, float]:
    (alias,) = (await catalogue.models.get("digits")).aliases
    return alias.version, alias.canary_version, alias.canary_percent


async def test_a_canary_gets_a_share_until_the_alias_is_set_without_one(catalogue: Catalogue) -> None:
    await point(catalogue, "1")
    before = await split(catalogue, "1", "2")
    assert (before.canary_version, before.canary_percent) == ("2", 10.0)
    assert await shares(catalogue) == ("1", "2", 10.0)
    assert await current(catalogue) == "1"
    assert await split(catalogue, "1", "2") == before  # nothing changed
    await split(catalogue, "1", "2", 50)
    await point(catalogue, "1")
    assert await shares(catalogue) == ("1", "", 0.0)
    changes = [c for _, c in await catalogue.aliases.history("digits", "prod", 0, 10)]
    assert [(c.to_version, c.canary_version, c.canary_percent) for c in changes] == [
        ("1", "", 0.0),
        ("1", "2", 50.0),
        ("1", "2", 10.0),
        ("1", "", 0.0),
    ]


async def test_a_canary_over_the_wire(catalogue: Catalogue, registry: Remote) -> None:
    said = {"model": "digits", "alias": "prod", "version": "1"}
    moved = await registry("SetAlias", **said, canary_version="2", canary_percent=25.0)
    assert (moved.version, moved.canary_version, moved.canary_percent) == ("1", "2", 25.0)
    assert (await registry("GetModel", name="digits")).aliases[0] == moved
    (change,) = (await registry("ListAliasHistory", model="digits", alias="prod")).changes
    assert (change.canary_version, change.canary_percent) == ("2", 25.0)


@pytest.mark.parametrize("percent", [0.0, 100.0, -1.0, 1e300, float("nan"), float("inf")])
async def test_a_share_is_some_of_the_calls_but_not_all(catalogue: Catalogue, percent: float) -> None:
    with pytest.raises(InvalidInputError, match="'prod': canary_percent: expected above 0 and below 100, got"):
        await split(catalogue, "1", "2", percent)


async def test_what_cannot_be_a_canary(catalogue: Catalogue) -> None:
    await catalogue.aliases.set("digits", Alias("same", "1"))
    with pytest.raises(InvalidInputError, match="canary_percent: expected 0 without a canary_version, got 5"):
        await split(catalogue, "1", "", 5)
    for canary in ("1", "same"):
        with pytest.raises(InvalidInputError, match="canary_version: expected another version than that of the alias"):
            await split(catalogue, "1", canary)
    with pytest.raises(NotFoundError):
        await split(catalogue, "1", "99")
    await catalogue.versions.delete("digits", "3")
    with pytest.raises(PreconditionError, match="digits@3: it is deleted"):
        await split(catalogue, "1", "3")


async def test_a_canary_that_breaks_callers_is_refused_unless_forced(catalogue: Catalogue) -> None:
    with pytest.raises(PreconditionError, match="version 4 breaks callers of 1"):  # of a new alias, too
        await split(catalogue, "1", "4")
    await point(catalogue, "1")
    with pytest.raises(PreconditionError, match="version 4 breaks callers of 1"):
        await split(catalogue, "2", "4")
    forced = Alias("prod", "1", canary_version="4", canary_percent=1)
    await catalogue.aliases.set("digits", forced, force=True)
    assert await shares(catalogue) == ("1", "4", 1.0)


async def test_a_roll_back_ends_the_canary_first_and_never_brings_one_back(catalogue: Catalogue) -> None:
    await point(catalogue, "1")
    await split(catalogue, "1", "2", 10)
    await split(catalogue, "1", "2", 50)
    await point(catalogue, "2")
    rolled = await catalogue.aliases.roll_back("digits", "prod", "default")
    assert (rolled.version, rolled.canary_version, rolled.canary_percent) == ("1", "", 0.0)
    assert await shares(catalogue) == ("1", "", 0.0)
    await point(catalogue, "2")
    await split(catalogue, "2", "3")
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "2"
    assert await shares(catalogue) == ("2", "", 0.0)
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "1"


async def test_a_move_that_also_sets_a_canary_is_rolled_back_whole(catalogue: Catalogue) -> None:
    await point(catalogue, "1")
    await split(catalogue, "2", "3")
    assert (await catalogue.aliases.roll_back("digits", "prod", "default")).version == "1"


async def test_a_canary_is_in_use(catalogue: Catalogue) -> None:
    await split(catalogue, "3", "1")
    for purge in (False, True):
        with pytest.raises(PreconditionError, match="digits@1: the alias 'prod' names it"):
            await catalogue.versions.delete("digits", "1", purge=purge)
    await catalogue.models.update("digits", {"keep_last": 1})
    await catalogue.publications.publish(draft())
    assert {v.version for v in await catalogue.versions.page("digits", "", 100)} == {"1", "3", "5"}


async def test_a_canary_that_is_deleted_meanwhile_is_not_set(
    catalogue: Catalogue, etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = etcd.commit

    async def overtaken(*arguments: object) -> int:
        monkeypatch.setattr(etcd, "commit", commit)
        await catalogue.versions.delete("digits", "2")
        return await commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(etcd, "commit", overtaken)
    with pytest.raises(PreconditionError, match="digits@2: it is deleted"):
        await split(catalogue, "1", "2")
