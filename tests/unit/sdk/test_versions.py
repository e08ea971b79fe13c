from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.catalogue import Lifecycle
from modelyard.compatibility import Compatibility, FileDifference
from modelyard.errors import AbortedError, InvalidInputError, NotFoundError
from tests.unit.fakes import FakeSuite


@pytest.fixture(autouse=True)
async def digits(client: Client, tmp_path: Path) -> None:
    """Two versions."""
    for number in "12":
        (tmp_path / "net.onnx").write_text(f"version {number}")
        await client.push("digits", tmp_path / "net.onnx", labels={"n": number})


async def test_only_what_is_given_is_changed(fakes: FakeSuite, client: Client) -> None:
    changed = await client.update_version("digits@1", metrics={"accuracy": 0.97, "loss": 0})
    assert list(fakes.registry.requests[-1].update_mask.paths) == ["metrics"]
    assert (changed.metrics, changed.labels) == ({"accuracy": 0.97, "loss": 0.0}, {"n": "1"})
    assert (await client.update_version("digits", "1", labels={})).labels == {}
    assert (await client.version("digits@2")).labels == {"n": "2"}
    with pytest.raises(InvalidInputError, match="expected something to change of description, labels, metrics"):
        await client.update_version("digits@1")


async def test_an_etag_that_is_lost_changes_nothing(client: Client) -> None:
    read = await client.version("digits@1")
    await client.update_version("digits@1", description="new", etag=read.etag)
    with pytest.raises(AbortedError):
        await client.update_version("digits@1", description="late", etag=read.etag)
    with pytest.raises(AbortedError):
        await client.delete_version("digits@1", etag=read.etag)
    assert (await client.version("digits@1")).state is Lifecycle.ACTIVE


async def test_a_deleted_version_comes_back_unless_it_is_purged(client: Client) -> None:
    await client.delete_version("digits@1")
    assert [v.version for v in await client.versions("digits")] == ["2"]
    assert [v.version for v in await client.versions("digits", show_deleted=True)] == ["1", "2"]
    assert (await client.undelete_version("digits", "1")).state is Lifecycle.ACTIVE
    await client.delete_version("digits@1", purge=True)
    with pytest.raises(NotFoundError):
        await client.undelete_version("digits@1")


async def test_two_versions_are_compared(client: Client) -> None:
    found = await client.compare("digits@1", "digits")
    assert (found.base.version, found.other.version) == ("1", "2")
    assert found.compatibility is Compatibility.NARROWED
    assert found.differences == ("input 'x': expected FP32 [-1, 2], got FP32 [1, 2] (narrowed)",)
    assert found.files[1] == FileDifference("new.bin", -1, 3 << 20, 1 << 20)
    same = await client.compare("digits@1", "digits@1")
    assert (same.compatibility, same.files) == (Compatibility.SAME, ())
