from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.errors import AbortedError, InvalidInputError, NotFoundError, PreconditionError, UnavailableError
from tests.unit.fakes import FakeSuite


@pytest.fixture(autouse=True)
async def digits(client: Client, tmp_path: Path) -> None:
    """Three versions."""
    for number in "123":
        (tmp_path / "net.onnx").write_text(f"version {number}")
        await client.push("digits", tmp_path / "net.onnx")


async def test_history_is_read_to_its_end_newest_first(fakes: FakeSuite, client: Client) -> None:
    for version in "123":
        await client.set_alias("digits", "prod", version)
    await client.set_alias("digits@3", "canary")
    moves = [(c.alias, c.from_version, c.to_version) for c in await client.history("digits")]
    assert moves == [("canary", "", "3"), ("prod", "2", "3"), ("prod", "1", "2"), ("prod", "", "1")]
    assert fakes.registry.calls["ListAliasHistory"] == 2
    assert [c.number for c in await client.history("digits", "prod")] == [3, 2, 1]
    assert await client.history("digits@canary") == await client.history("digits", "canary")
    with pytest.raises(NotFoundError):
        await client.history("absent")


async def test_rollback_is_a_move_of_its_own(client: Client) -> None:
    await client.set_alias("digits", "prod", "1")
    with pytest.raises(PreconditionError, match="never pointed at anything else"):
        await client.rollback("digits@prod")
    await client.set_alias("digits", "prod", "2")
    assert (await client.rollback("digits@prod")).version == "1"
    newest = (await client.history("digits@prod"))[0]
    assert (newest.from_version, newest.to_version, newest.rollback) == ("2", "1", True)


async def test_a_rollback_is_not_tried_twice(fakes: FakeSuite, client: Client) -> None:
    await client.set_alias("digits", "prod", "1")
    fakes.registry.failures["RollbackAlias"] = [UnavailableError("away", retry_after_s=0.01)]
    with pytest.raises(UnavailableError):
        await client.rollback("digits", "prod")
    assert fakes.registry.calls["RollbackAlias"] == 1


async def test_force_and_etag_are_sent(fakes: FakeSuite, client: Client) -> None:
    moved = await client.set_alias("digits", "prod", "1", force=True)
    assert fakes.registry.requests[-1].force
    fakes.registry.failures["SetAlias"] = [UnavailableError("away", retry_after_s=0.01)]
    with pytest.raises(UnavailableError):
        await client.set_alias("digits", "prod", "2", etag=moved.etag)
    await client.set_alias("digits", "prod", "2", etag=moved.etag)
    assert not fakes.registry.requests[-1].force
    for attempt in (client.set_alias("digits", "prod", "3", etag=moved.etag), client.rollback("digits@prod", etag="7")):
        with pytest.raises(AbortedError):
            await attempt


async def test_an_alias_is_deleted(fakes: FakeSuite, client: Client) -> None:
    await client.set_alias("digits", "prod", "1")
    await client.delete_alias("digits", "prod")
    assert (await client.model("digits")).aliases == ()
    with pytest.raises(InvalidInputError, match="expected one, got 'prod' and 'canary'"):
        await client.rollback("digits@prod", "canary")


async def test_a_canary_is_sent_and_comes_back(fakes: FakeSuite, client: Client) -> None:
    moved = await client.set_alias("digits", "prod", "1", canary_version="2", canary_percent=10)
    assert (moved.version, moved.canary_version, moved.canary_percent) == ("1", "2", 10.0)
    assert (await client.model("digits")).aliases[0].canary_version == "2"
    (change,) = await client.history("digits", "prod")
    assert (change.canary_version, change.canary_percent) == ("2", 10.0)
    with pytest.raises(InvalidInputError, match="canary_percent: expected a number"):
        await client.set_alias("digits", "prod", "1", canary_version="2", canary_percent="x")  # type: ignore[arg-type]
