"""Preprocessing beside a model: the signature that results, and what is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from modelyard.catalogue import Signature
from modelyard.preprocessing.files import DIRECTORY, LOOKED_AT, PREPROCESSING, TOKENIZER
from modelyard_registry.formats.inspection import inspect
from modelyard_registry.formats.known import HEAD_BYTES, looked_at
from tests import reviews


def test_the_signature_is_what_callers_send_and_get(tmp_path: Path) -> None:
    found = inspect("onnx", reviews.save(tmp_path))
    signature = msgspec.json.decode(found["signature"], type=Signature)
    assert [str(t) for t in signature.inputs] == ["text: BYTES [-1]"]
    assert [str(t) for t in signature.outputs] == ["label: BYTES [-1]", "score: FP32 [-1]"]


@pytest.mark.parametrize("name", [PREPROCESSING, TOKENIZER])
def test_a_corrupt_file_is_refused(name: str, tmp_path: Path) -> None:
    (reviews.save(tmp_path) / DIRECTORY / name).write_text('{"format": 3}')
    assert inspect("onnx", tmp_path)["error"].startswith(f"{name}: ")


def test_a_directory_without_the_file_is_refused(tmp_path: Path) -> None:
    (reviews.save(tmp_path) / DIRECTORY / PREPROCESSING).unlink()
    assert "expected a file preprocessing.json" in inspect("onnx", tmp_path)["error"]


def test_names_that_mislead_are_refused(tmp_path: Path) -> None:
    path = reviews.save(tmp_path) / DIRECTORY / PREPROCESSING
    path.write_text(path.read_text().replace('"label": "label"', '"label": "la\\u202ebel"'))
    assert "expected a name, without control characters" in inspect("onnx", tmp_path)["error"]


def test_a_model_that_it_is_not_for_is_refused(tmp_path: Path) -> None:
    assert "it has ids: INT64 [-1, 9]" in inspect("onnx", reviews.save(tmp_path, length=9))["error"]


def test_its_files_are_looked_at_as_a_whole() -> None:
    for path, size in LOOKED_AT.items():
        assert looked_at("onnx", path) == size > HEAD_BYTES
    assert looked_at("onnx", f"sub/{DIRECTORY}/{TOKENIZER}") == HEAD_BYTES
