from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.pickled import CONVERSION, looks_pickled
from modelyard_registry.formats.known import HEAD_BYTES
from modelyard_registry.formats.refusal import describe_pickle, refuse_pickles
from tests import models

STATE = {"weight": torch.ones(2, 3)}


class Estimator:
    """What scikit-learn's users pickle: a class and its attributes."""

    def __init__(self) -> None:
        self.coefficients = np.ones(3)


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def scripted() -> bytes:
    return saved(lambda out: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), out))


def refusal(directory: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        refuse_pickles(directory)
    assert str(directory) not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [Estimator(), {"a": Estimator()}, [Estimator()] * 10_000, np.ones(100_000)])
def test_pickles_of_every_protocol(tmp_path: Path, value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    if protocol < 2 and len(data) > 50_000:
        return  # the older ones are known by their end
    (tmp_path / "model.weights").write_bytes(data)
    assert "model.weights: expected a file that is read without running code, got a Python pickle" in refusal(tmp_path)


@pytest.mark.parametrize("value", [None, 0, "text", b"bytes", (1, 2), {"a": 1}])
def test_pickles_of_plain_values(value: object) -> None:
    assert describe_pickle(pickle.dumps(value), whole=True) == "a Python pickle"


def test_files_of_torch(tmp_path: Path) -> None:
    kind = "a file of torch.save or torch.jit.save (a zip with a pickle)"
    assert describe_pickle(saved(lambda out: torch.save(STATE, out)), whole=True) == kind
    assert describe_pickle(saved(lambda out: torch.save(torch.nn.Linear(2, 2), out)), whole=True) == kind
    torch.save({"large": torch.ones(100_000)}, tmp_path / "checkpoint")
    assert f"checkpoint: expected a file that is read without running code, got {kind}" in refusal(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript() -> None:
    assert "torch.jit.save" in str(describe_pickle(scripted(), whole=True))


def test_files_of_torch_before_its_zip_format() -> None:
    data = saved(lambda out: torch.save(STATE, out, _use_new_zipfile_serialization=False))
    assert describe_pickle(data, whole=True) == "a Python pickle"


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_files_of_joblib(tmp_path: Path, compress: int | tuple[str, int]) -> None:
    joblib.dump({"model": Estimator(), "table": np.random.default_rng(0).random(50_000)}, tmp_path / "m", compress)
    assert "Python pickle" in refusal(tmp_path)


def test_numpy_arrays_of_objects() -> None:
    objects = np.array([Estimator(), None], dtype=object)
    data = saved(lambda out: np.save(out, objects, allow_pickle=True))
    assert describe_pickle(data, whole=True) == "a NumPy file of Python objects (a pickle)"


def test_the_refusal_says_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(saved(lambda out: torch.save(STATE, out)))
    message = refusal(tmp_path)
    assert message.endswith(CONVERSION)
    for way in ("torch.onnx.export(", "torch.export.save(", "safetensors.torch.save_file(", "recipe.json"):
        assert way in message
    assert len(message) < 1000


def test_a_pickle_anywhere_in_the_artifact(tmp_path: Path) -> None:
    models.save(models.mlp((4, 2)), tmp_path / "model.onnx")
    (tmp_path / "a" / "b").mkdir(parents=True)
    refuse_pickles(tmp_path)
    (tmp_path / "a" / "b" / "labels").write_bytes(pickle.dumps(["cat", "dog"]))
    assert refusal(tmp_path).startswith("a/b/labels: ")


def innocent() -> list[bytes]:
    text = b"Notes on the model.\n"
    packed = [pack(text * 100) for pack in (gzip.compress, zlib.compress, bz2.compress, lzma.compress)]
    archive = saved(lambda out: zipfile.ZipFile(out, "w").close())
    entry = io.BytesIO()
    with zipfile.ZipFile(entry, "w") as opened:
        opened.writestr("notes/data.pkl.txt", text)
    return [
        b"",
        text,
        b"{}",
        b"N.",  # opcodes by chance: None, the end
        b"(lp0\n.",
        b"\x80\x02",
        b"PK\x03\x04",
        bytes(100_000),
        saved(lambda out: np.save(out, np.arange(9))),
        models.mlp((4, 2)).SerializeToString(),
        archive,
        entry.getvalue(),
        *packed,
        *(data[: len(data) // 2] for data in packed),
        b"\x1f\x8b" + text,
        b"\x78" + text,
        b"BZh" + text,
        b"\xfd7zXZ" + text,
        b"\x5d\x00\x00" + text,
    ]


INNOCENT = innocent()


# By number: some have the time of day in them, and every process that runs tests must call them the same.
@pytest.mark.parametrize("data", INNOCENT, ids=range(len(INNOCENT)))
def test_what_is_no_pickle(data: bytes) -> None:
    assert describe_pickle(data, whole=True) is None
    assert describe_pickle(data[:HEAD_BYTES], whole=False) is None


def test_weights_that_begin_like_a_pickle() -> None:
    chance = random.Random(3)
    found = [describe_pickle(b"\x80\x04" + chance.randbytes(4096), whole=False) for _ in range(2_000)]
    assert len([kind for kind in found if kind]) < 30  # of two thousand in a hundred million files
    assert not any(describe_pickle(chance.randbytes(4096), whole=True) for _ in range(2_000))


def test_damaged_pickles_are_described_or_not_but_nothing_else() -> None:
    chance = random.Random(5)
    for protocol in range(6):
        whole = pickle.dumps({"a": [Estimator(), 1.5, 10**50, "text", b"bytes"]}, protocol)
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            describe_pickle(bytes(data[: chance.randrange(len(data))]), whole=True)


def test_names_that_pickles_have() -> None:
    assert all(looks_pickled(name) for name in ("m.pt", "a/b.PTH", "pytorch_model.bin", "m.pkl", "m.joblib", "m.ckpt"))
    assert not any(looks_pickled(name) for name in ("m.pt2", "m.onnx", "m.safetensors", "pt", "recipe.json", ".pkl/m"))
