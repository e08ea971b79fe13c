from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from modelyard.torch_export import archive as torch_archive
from modelyard.torch_export import entries as torch_export_entries
from tests import programs
from tests.unit.torch_export.refused import refusal


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a//b", "a/../../b", "..", "a\\b", "data/weights/weight_0/", "./a"]
)
def test_paths_that_lead_elsewhere(classifier: Path, name: str) -> None:
    with zipfile.ZipFile(classifier / "m.pt2", "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"")
    assert "m.pt2: expected entries with relative paths without '..', got " in refusal(classifier)


def test_compressed_entries(classifier: Path) -> None:
    programs.write(classifier / "m.pt2", programs.entries(classifier / "m.pt2"), compression=zipfile.ZIP_DEFLATED)
    assert "expected an entry that is stored as it is, got a compressed one" in refusal(classifier)


def test_an_entry_twice(classifier: Path) -> None:
    with zipfile.ZipFile(classifier / "m.pt2", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    assert refusal(classifier) == "m.pt2: expected distinct entries, got one twice"


@pytest.mark.parametrize(("before", "after"), [(b"#!/bin/sh\n", b""), (b"", b"more"), (b"PK", b"PK")])
def test_bytes_around_the_zip_file(classifier: Path, before: bytes, after: bytes) -> None:
    path = classifier / "m.pt2"
    path.write_bytes(before + path.read_bytes() + after)
    assert "m.pt2: expected a zip file" in refusal(classifier)


def test_a_comment_and_no_entries(classifier: Path) -> None:
    with zipfile.ZipFile(classifier / "m.pt2", "a") as archive:
        archive.comment = b"hello"
    assert "expected a zip file, got something else or the beginning of one" in refusal(classifier)
    programs.write(classifier / "m.pt2", {})
    assert refusal(classifier) == "m.pt2: expected a zip file with entries, got none"


@pytest.mark.parametrize("data", [b"", b"no zip file", b"PK\x05\x06" + bytes(18), b"PK\x06\x07" * 20, bytes(1000)])
def test_what_is_no_zip_file(classifier: Path, data: bytes) -> None:
    (classifier / "m.pt2").write_bytes(data)
    assert refusal(classifier).startswith("m.pt2: expected a zip file")


def test_bounds(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, bound, reason in (
        (torch_archive, "MAX_ENTRIES", "expected at most 3 entries"),
        (torch_archive, "MAX_DIRECTORY_BYTES", "named in 3 bytes"),
        (torch_export_entries, "MAX_BYTES", "data.pkl: expected at most 3 bytes"),
        (torch_export_entries, "_MAX_CONFIG_BYTES", "model_weights_config.json: expected at most 3 bytes"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, bound, 3)
            assert reason in refusal(classifier)
