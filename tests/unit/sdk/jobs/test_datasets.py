from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.jobs.spec import Artifact
from modelyard.results import Progress
from modelyard.sdk.jobs.options import JobOptions
from tests.unit.fakes import FakeSuite

DIGEST = "ab" * 32


async def test_a_file_becomes_an_artifact_of_which_only_what_is_missing_is_sent(
    digits: FakeSuite, client: Client, tmp_path: Path
) -> None:
    data = bytes(range(256)) * (CHUNK_SIZE_BYTES // 256) + b"end"
    (tmp_path / "rows.csv").write_bytes(data)
    progress: list[Progress] = []
    job = await client.jobs.submit("digits", tmp_path / "rows.csv", progress=progress.append)
    artifact = job.spec.inference.dataset.artifact
    assert artifact
    manifest = digits.registry.chunks[artifact.manifest_digest]
    digests = [hashlib.sha256(part).hexdigest() for part in (data[:CHUNK_SIZE_BYTES], data[CHUNK_SIZE_BYTES:])]
    files = [{"path": "rows.csv", "size_bytes": len(data), "chunks": digests}]
    assert json.loads(manifest) == {"files": files, "chunk_size_bytes": CHUNK_SIZE_BYTES}
    assert (artifact.path, len(digits.registry.uploads)) == ("", 1)
    assert progress[-1] == Progress("send", len(data), len(data))
    received_bytes = digits.registry.received_bytes
    again = await client.jobs.submit("digits", str(tmp_path / "rows.csv"))
    assert again.spec.inference.dataset.artifact == artifact
    assert digits.registry.received_bytes == received_bytes


async def test_a_directory_has_all_of_its_files(digits: FakeSuite, client: Client, tmp_path: Path) -> None:
    for name in ("b/1.png", "a.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    job = await client.jobs.submit("digits", tmp_path / "images")
    artifact = job.spec.inference.dataset.artifact
    assert artifact
    manifest = json.loads(digits.registry.chunks[artifact.manifest_digest])
    assert [file["path"] for file in manifest["files"]] == ["a.png", "b/1.png"]


async def test_what_is_elsewhere_is_only_named(digits: FakeSuite, client: Client) -> None:
    options = JobOptions(kind="csv")
    for rows, artifact, url in (
        (Artifact(DIGEST, "a.csv"), Artifact(DIGEST, "a.csv"), ""),
        (f"sha256:{DIGEST}", Artifact(DIGEST), ""),
        (f"sha256:{DIGEST}/a/b.csv", Artifact(DIGEST, "a/b.csv"), ""),
        ("s3://bucket/rows", None, "s3://bucket/rows"),
    ):
        dataset = (await client.jobs.submit("digits", rows, options)).spec.inference.dataset
        assert (dataset.artifact, dataset.url, dataset.inline, dataset.kind) == (artifact, url, None, "csv")
    assert not digits.registry.calls


async def test_few_rows_go_with_the_call(digits: FakeSuite, client: Client) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    for rows in ({"x": x}, x, x.tolist()):
        await client.jobs.submit("digits", rows)
        sent = digits.jobs.requests[-1].spec.batch_inference.dataset
        assert sent.kind == "npz"
        with np.load(io.BytesIO(sent.inline)) as archive:
            np.testing.assert_array_equal(archive["x"], x)
    assert not digits.registry.uploads


async def test_many_rows_are_uploaded(digits: FakeSuite, client: Client) -> None:
    x = np.zeros((CHUNK_SIZE_BYTES // 4, 1), np.float32)
    await client.jobs.submit("digits", {"x": x[1024:]})
    assert not digits.registry.uploads
    job = await client.jobs.submit("digits", {"x": x})
    dataset = job.spec.inference.dataset
    assert dataset.kind == "npz"
    assert dataset.artifact
    (file,) = json.loads(digits.registry.chunks[dataset.artifact.manifest_digest])["files"]
    assert file["path"] == "rows.npz"
    data = b"".join(digits.registry.chunks[digest] for digest in file["chunks"])
    with np.load(io.BytesIO(data)) as archive:
        np.testing.assert_array_equal(archive["x"], x)


async def test_what_is_none_is_refused_before_anything_is_sent(
    digits: FakeSuite, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_bytes(b"x\n1\n")
    for rows, options, message in (
        ("", JobOptions(), "rows: expected a file or a directory, got an empty path"),
        (tmp_path / "absent.csv", JobOptions(), "expected a file or directory, found nothing"),
        (tmp_path / "rows.csv", JobOptions(priority=11), "priority: expected 0 to 9, got 11"),
        ({"x": [1, 2], "y": [1]}, JobOptions(), "expected inputs with the same number of rows"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            await client.jobs.submit("digits", rows, options)
    with pytest.raises(NotFoundError):
        await client.jobs.submit("absent", [1.0])
    assert not digits.registry.uploads
    assert not digits.jobs.calls


async def test_a_list_of_too_many_files_is_refused(
    digits: FakeSuite, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"a")
    monkeypatch.setattr("modelyard.sdk.jobs.datasets.CHUNK_SIZE_BYTES", 100)
    with pytest.raises(InvalidInputError, match="expected a list of files of at most 100 bytes, got"):
        await client.jobs.submit("digits", tmp_path / "images")
    assert not digits.registry.uploads


async def test_arrays_of_a_model_with_several_inputs_need_their_names(digits: FakeSuite, client: Client) -> None:
    digits.registry.versions["digits", "1"].signature.inputs.add(name="mask", datatype="BOOL", shape=[-1])
    with pytest.raises(InvalidInputError, match="expected an array for each input of x, mask, by name"):
        await client.jobs.submit("digits", np.zeros((1, 4)))
