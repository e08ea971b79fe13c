from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.torch_export.entries import CONVERSION
from modelyard.torch_export.signature import read_signature
from tests import programs
from tests.unit.torch_export.refused import refusal

ONES = torch.ones(2, 3)


def test_weights_that_are_missing_or_cut_off(classifier: Path) -> None:
    whole = (classifier / "m.pt2").read_bytes()
    programs.change(classifier / "m.pt2", data__weights__weight_0=bytes(2559))
    assert refusal(classifier) == "m.pt2: data/weights/weight_0: expected 2560 bytes or more, got 2559"
    programs.change(classifier / "m.pt2", data__weights__weight_0=None)
    assert refusal(classifier) == "m.pt2: expected an entry 'data/weights/weight_0', which is missing"
    (classifier / "m.pt2").write_bytes(whole)
    programs.change(classifier / "m.pt2", **{"data/weights/model_weights_config.json": b'{"config": {}}'})
    assert refusal(classifier) == "m.pt2: expected a tensor for 'linear.bias', which is missing"


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"dtype": 99}, "expected whole sizes and strides and a known data type"),
        ({"strides": [{"as_int": 1}]}, "expected whole sizes and strides"),
        ({"sizes": [{"as_int": -5}, {"as_int": 1}]}, "expected whole sizes and strides"),
        ({"storage_offset": {"as_expr": {"expr_str": "Symbol('s0')"}}}, "expected whole sizes and strides"),
        ({"strides": [{"as_int": 2**62}, {"as_int": 2**62}]}, "bytes or more, got 2560"),
        ({"sizes": "many"}, "Expected `array`, got `str`"),
    ],
)
def test_weights_that_cannot_be(classifier: Path, meta: dict[str, Any], reason: str) -> None:
    path = "data/weights/model_weights_config.json"
    config = json.loads(programs.entries(classifier / "m.pt2")[path])
    config["config"]["linear.weight"]["tensor_meta"] |= meta
    programs.change(classifier / "m.pt2", **{path: json.dumps(config).encode()})
    assert reason in refusal(classifier)


@pytest.mark.parametrize(
    "content",
    [
        {"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": b"", "version": b"8.8"},
        {"archive_format": b"pt2", "data/weights/model.pt": b""},
        {"archive_format": b"pt2", "data/weights/model_model_param_config.json": b"{}"},
    ],
)
@pytest.mark.parametrize("root", ["", "archive/"])
def test_older_layouts(tmp_path: Path, content: dict[str, bytes], root: str) -> None:
    programs.write(tmp_path / "m.pt2", content, root=root)
    message = refusal(tmp_path)
    assert "expected the layout that torch 2.13 writes, got that of an older release" in message
    assert message.endswith("export and save the model again with torch 2.13")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"archive_format": b"zip"}, "expected a file of torch.export.save, got another zip file"),
        ({"archive_format": None}, "expected a file of torch.export.save, got another zip file"),
        ({"models__model.json": None}, "expected one program, models/model.json; got none"),
        ({"models__other.json": b"{}"}, "expected one program, models/model.json; got models/"),
        ({"models__model.json": b"no JSON"}, "models/model.json: expected JSON: "),
        ({"models__model.json": b"[" * 100_000}, "models/model.json: expected JSON: "),
        ({"models__model.json": b"[]"}, "models/model.json: Expected `object`, got `array`"),
        ({"models__model.json": b"\xff{}"}, "models/model.json: expected JSON: "),
        ({"byteorder": b"big"}, "expected little-endian weights"),
        ({"data__weights__model_weights_config.json": None}, "model_weights_config.json', which is missing"),
        ({"data__constants__model_constants_config.json": b"{}"}, "missing required field `config`"),
        ({"data__sample_inputs__model.pt": None}, "expected an entry of that name, which is missing"),
    ],
)
def test_other_layouts(classifier: Path, changes: dict[str, bytes | None], reason: str) -> None:
    programs.change(classifier / "m.pt2", **changes)
    assert reason in refusal(classifier)


class Hostile:
    """Unpickling it calls print."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def sample_inputs() -> list[bytes]:
    plain = programs.torch_save(((ONES,), {}))
    return [
        programs.torch_save(((Hostile(),), {})),
        programs.torch_save(((torch.nn.Linear(2, 2),), {})),
        pickle.dumps(((), {})),
        plain[:-1],
        b"\0" + plain,
        programs.torch_save({"a": {1, 2}}),
        _with_entry(plain, "archive/constants.pkl", b""),
    ]


def _with_entry(data: bytes, name: str, content: bytes) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("data", sample_inputs())
def test_example_inputs_that_are_not_plain_tensors(classifier: Path, data: bytes, capsys: Any) -> None:
    programs.change(classifier / "m.pt2", **{"data/sample_inputs/model.pt": data})
    assert refusal(classifier).startswith("m.pt2: data/sample_inputs/model.pt: expected ")
    assert read_signature(classifier / "m.pt2", allow_unsafe=True).inputs
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [((ONES,), {"n": 3, "s": "text", "f": 1.5, "none": None, "b": True}), ((), {})])
def test_example_inputs_that_are(classifier: Path, value: Any) -> None:
    programs.change(classifier / "m.pt2", **{"data/sample_inputs/model.pt": programs.torch_save(value)})
    assert read_signature(classifier / "m.pt2").inputs


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data/constants/custom_obj_0", "a pickled object of a class of its own"),
        ("data/constants/opaque_obj_0", "a pickled object of a class of its own"),
        ("data/aotinductor/model/kernel.so", "compiled code"),
        ("data/executorch/model.pte", "a program for ExecuTorch"),
    ],
)
def test_entries_that_run(classifier: Path, path: str, kind: str) -> None:
    programs.change(classifier / "m.pt2", **{path: b"code"})
    assert refusal(classifier) == f"m.pt2: {path}: expected weights and a program, got {kind}; {CONVERSION}"
    assert read_signature(classifier / "m.pt2", allow_unsafe=True).inputs


@pytest.mark.parametrize("path", ["data.pkl", "data/weights/data.pkl", "data/weights/weight_a", "code/model.py"])
def test_entries_that_torch_does_not_write(classifier: Path, path: str) -> None:
    programs.change(classifier / "m.pt2", **{path: b""})
    assert refusal(classifier) == f"m.pt2: expected the entries of torch.export.save, got {path!r}; {CONVERSION}"


def test_weights_that_are_pickles(classifier: Path) -> None:
    path = "data/weights/model_weights_config.json"
    config = json.loads(programs.entries(classifier / "m.pt2")[path])
    config["config"]["linear.weight"]["use_pickle"] = True
    programs.change(classifier / "m.pt2", **{path: json.dumps(config).encode()})
    assert refusal(classifier) == f"m.pt2: 'linear.weight': expected a plain tensor, got a pickle; {CONVERSION}"
    assert read_signature(classifier / "m.pt2", allow_unsafe=True).inputs


def test_what_is_allowed_must_still_be_whole(classifier: Path) -> None:
    programs.change(classifier / "m.pt2", data__weights__weight_0=b"")
    assert "expected 2560 bytes or more, got 0" in refusal(classifier, allow_unsafe=True)
