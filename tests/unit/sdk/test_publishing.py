from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.aio import Client
from modelyard.catalogue import Lineage, Resources, Signature, TensorSpec
from modelyard.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from tests.unit.fakes import FakeSuite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(b"not looked into")
    return tmp_path / "net.onnx"


async def test_what_is_said_of_a_version_is_sent(fakes: FakeSuite, client: Client, path: Path) -> None:
    declared = Signature((TensorSpec("x", "FP32", (-1, 2)),))
    lineage = Lineage("7", job="train-1", dataset="mnist")
    pushed = await client.push("digits", path, lineage=lineage, metrics={"accuracy": 0.5}, declared=declared)
    assert (pushed.lineage, pushed.metrics, pushed.signature) == (lineage, {"accuracy": 0.5}, declared)
    await client.push("digits", path)
    assert not fakes.registry.requests[-1].HasField("declared")


async def test_creation_is_tried_again_with_the_same_id(fakes: FakeSuite, client: Client, path: Path) -> None:
    seen: list[str] = []
    fakes.registry.failures["CreateVersion"] = [UnavailableError("away", retry_after_s=0.01) for _ in range(2)]
    fakes.registry.on_create = lambda request: seen.append(request.request_id)
    assert (await client.push("digits", path)).version == "1"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    await client.push("digits", path)
    assert seen[-1] not in {"", seen[0]}


async def test_an_upload_has_one_name_that_creation_ends(fakes: FakeSuite, client: Client, path: Path) -> None:
    await client.push("digits", path)
    assert fakes.registry.uploads == {fakes.registry.requests[-1].upload}
    await client.push("digits", path)
    assert len(fakes.registry.uploads) == 2
    assert "" not in fakes.registry.uploads


async def test_what_the_model_is_if_it_is_new_is_said_with_the_version(
    fakes: FakeSuite, client: Client, path: Path
) -> None:
    await client.push("digits", path, labels={"team": "vision"}, description="good", licence="MIT")
    new = fakes.registry.requests[-1].new_model
    assert (new.name, dict(new.labels), new.description, new.licence) == ("digits", {"team": "vision"}, "good", "MIT")
    fakes.registry.failures["CreateVersion"] = [InvalidInputError("expected an ONNX model")]
    with pytest.raises(InvalidInputError):
        await client.push("letters", path)
    with pytest.raises(NotFoundError):
        await client.model("letters")


async def test_an_alias_that_may_not_move_leaves_the_version(fakes: FakeSuite, client: Client, path: Path) -> None:
    fakes.registry.failures["SetAlias"] = [PreconditionError("it breaks callers; force")]
    with pytest.raises(PreconditionError, match="force"):
        await client.push("digits", path, alias="prod")
    assert (await client.version("digits")).version == "1"
    fakes.registry.failures["SetAlias"] = [PreconditionError("it breaks callers; force", retry_after_s=2)]
    with pytest.raises(PreconditionError) as raised:
        await client.push("digits", path, alias="prod")
    assert raised.value.message == "digits@2 is published, but: it breaks callers; force"
    assert (raised.value.published, raised.value.retry_after_s) == ("digits@2", 2)


async def test_a_name_that_no_alias_can_have_leaves_no_version(fakes: FakeSuite, client: Client, path: Path) -> None:
    await client.push("digits@one", path, alias="prod")
    fakes.registry.uploads.clear()
    with pytest.raises(AlreadyExistsError, match="expected an alias, but a version has that name") as raised:
        await client.push("digits", path, alias="one")
    with pytest.raises(InvalidInputError, match="expected another name than the version's, got 'x' for both"):
        await client.push("digits@x", path, alias="x")
    assert not fakes.registry.uploads
    assert raised.value.published == ""
    await client.push("digits", path, alias="prod")
    assert [v.version for v in await client.versions("digits")] == ["one", "2"]


async def test_no_path_is_not_the_current_directory(
    fakes: FakeSuite, client: Client, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(InvalidInputError, match="path: expected a file or a directory, got an empty path"):
        await client.push("digits", "")
    await client.push("digits", ".")
    with pytest.raises(InvalidInputError, match="directory: expected a path, got an empty one"):
        await client.pull("digits", "")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"resources": Resources(gpu=99999999999)}, "gpu: expected an integer of at most 32 bits, got 99999999999"),
        ({"resources": Resources(memory_bytes=1 << 63)}, "memory_bytes: expected an integer of at most 64 bits, got"),
        ({"description": "\udcff"}, r"description: expected text that UTF-8 can encode, got '\udcff'"),
        ({"licence": "\udcff"}, "licence: expected text"),
        ({"labels": {"a": "b", "team": "\udcff"}}, "labels['team']: expected text that UTF-8 can encode, got"),
        ({"metrics": {"loss": "low"}}, "metrics['loss']: expected a number, got 'low'"),
        ({"lineage": Lineage(job="\udcff")}, "job: expected text"),
        ({"declared": Signature((TensorSpec("x", "FP32", (1, 1 << 63)),))}, "shape[1]: expected an integer of at most"),
    ],
)
async def test_what_no_message_can_hold_is_refused_by_name(
    fakes: FakeSuite, client: Client, path: Path, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        await client.push("digits", path, **said)
    assert raised.value.message.startswith(message)
    assert not fakes.registry.calls
