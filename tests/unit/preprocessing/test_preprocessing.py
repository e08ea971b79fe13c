from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.oip.tensors import Array
from modelyard.preprocessing.files import MAX_BYTES, PREPROCESSING, TOKENIZER
from modelyard.preprocessing.options import (
    ImageOptions,
    LabelOptions,
    Options,
    ScalingOptions,
    TargetOptions,
    TextOptions,
)
from modelyard.preprocessing.preprocessing import Preprocessing

REVIEWS = ["a great film", "a <b>bad</b> film", "Great, great film!"]
MODEL = Signature((TensorSpec("ids", "INT64", (-1, 8)),), (TensorSpec("logits", "FP32", (-1, 2)),))


def objects(values: list[Any]) -> Array:
    found = np.empty(len(values), object)
    found[:] = values
    return found


@pytest.fixture
def reviews() -> Preprocessing:
    columns = {"text": objects(REVIEWS), "label": objects([b"pos", b"neg", b"pos"])}
    return Preprocessing.fit(columns, [TextOptions(least=1, length=8), LabelOptions()])


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_what_is_loaded_encodes_as_what_was_fitted(tokenizer: Any, tmp_path: Path) -> None:
    options = TextOptions(tokenizer=tokenizer, least=1, length=12, tokens=300)
    fitted = Preprocessing.fit({"text": objects(REVIEWS)}, [options])
    fitted.save(tmp_path / "preprocessing")
    loaded = Preprocessing.load(tmp_path / "preprocessing")
    inputs = {"text": objects([b"a GREAT film &amp; more", "Zürich".encode(), b""])}
    ids = fitted.encode(inputs)["ids"]
    assert ids.dtype == np.int64
    assert ids.shape == (3, 12)
    assert ids[0].any()
    np.testing.assert_array_equal(loaded.encode(inputs)["ids"], ids)
    np.testing.assert_array_equal(Preprocessing.of_bytes(fitted.to_bytes()).encode(inputs)["ids"], ids)
    assert fitted.to_bytes() == Preprocessing.fit({"text": objects(REVIEWS)}, [options]).to_bytes()


def test_a_row_is_encoded_whatever_is_beside_it(reviews: Preprocessing) -> None:
    texts = [b"a bad film", b"great " * 50, b"", b"unknown words"]
    together = reviews.encode({"text": objects(texts)})["ids"]
    alone = [reviews.encode({"text": objects([text])})["ids"] for text in texts]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_the_signature_is_what_callers_send_and_get(reviews: Preprocessing) -> None:
    model = Signature((*MODEL.inputs, TensorSpec("z", "FP32", (-1,))), (*MODEL.outputs, TensorSpec("w", "FP32", (-1,))))
    outer = reviews.signature(model)
    assert [str(t) for t in outer.inputs] == ["text: BYTES [-1]", "z: FP32 [-1]"]
    assert [str(t) for t in outer.outputs] == ["label: BYTES [-1]", "score: FP32 [-1]", "w: FP32 [-1]"]
    assert reviews.sources(["score", "w", "label"]) == ["logits", "w"]
    assert list(reviews.encode({"text": objects([b""]), "z": np.ones(1)})) == ["z", "ids"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (TensorSpec("ids", "INT32", (-1, 8)), r"expected a model with 'ids' of INT64 \[-1, 8\]; it has ids: INT32"),
        (TensorSpec("ids", "INT64", (-1, 9)), r"it has ids: INT64 \[-1, 9\]"),
        (TensorSpec("ids", "INT64", ()), r"it has ids: INT64 \[\]"),
        (TensorSpec("tokens", "INT64", (-1, 8)), "expected a model with the input 'ids'; it has tokens"),
    ],
)
def test_a_model_that_it_was_not_fitted_for(spec: TensorSpec, reason: str, reviews: Preprocessing) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        reviews.signature(Signature((spec,), MODEL.outputs))


def test_names_that_clash_with_the_models(reviews: Preprocessing) -> None:
    with pytest.raises(InvalidInputError, match="expected distinct outputs, got 'label' twice"):
        reviews.signature(Signature(MODEL.inputs, (*MODEL.outputs, TensorSpec("label", "FP32", (-1,)))))


def test_options_that_clash() -> None:
    columns = {"a": np.arange(3.0), "b": np.arange(3.0)}
    with pytest.raises(InvalidInputError, match="expected distinct inputs of the model, got 'x' twice"):
        Preprocessing.fit(columns, [ScalingOptions(("a",)), ScalingOptions(("b",))])
    texts = {"t": objects(["a"]), "u": objects(["b"])}
    with pytest.raises(InvalidInputError, match="one vocabulary for one encoding of text at most"):
        Preprocessing.fit(texts, [TextOptions("t", "x"), TextOptions("u", "y")])


def test_a_missing_input_and_a_missing_column(reviews: Preprocessing) -> None:
    with pytest.raises(InvalidInputError, match="missing input 'text'; got 'txt'"):
        reviews.encode({"txt": objects([b""])})
    with pytest.raises(InvalidInputError, match="expected a column of 'txt'; got 'text'"):
        Preprocessing.fit({"txt": objects([b""])}, [TextOptions()])


@pytest.mark.parametrize(("value", "reason"), [(b"\xff", "UTF-8"), (7, "text, got int"), ("\ud800", "UTF-8")])
def test_input_that_is_no_text(value: Any, reason: str, reviews: Preprocessing) -> None:
    with pytest.raises(InvalidInputError, match=f"input 'text': row 1: expected .*{reason}"):
        reviews.encode({"text": objects([b"fine", value])})


def written(reviews: Preprocessing, directory: Path, name: str, change: Any) -> Path:
    """The files of a preprocessing, one of them changed."""
    reviews.save(directory)
    document = json.loads((directory / name).read_text())
    change(document)
    (directory / name).write_text(json.dumps(document))
    return directory


CORRUPT: list[tuple[str, Any, str]] = [
    (PREPROCESSING, lambda d: d.update(format=2), "Invalid enum value 2"),
    (PREPROCESSING, lambda d: d.update(code="x"), "unknown field `code`"),
    (PREPROCESSING, lambda d: d["inputs"][0].update(kind="pickle"), "Invalid value 'pickle'"),
    (PREPROCESSING, lambda d: d["inputs"][0].update(length=10**9), "<= 16384"),
    (PREPROCESSING, lambda d: d["inputs"][0].update(length=-1), ">= 1"),
    (PREPROCESSING, lambda d: d["inputs"][0]["cleaning"].update(unicode="NFX"), "'NFX'"),
    (PREPROCESSING, lambda d: d["outputs"][0].update(names=["a", "a"]), "distinct names"),
    (PREPROCESSING, lambda d: d["outputs"][0].update(names=["a"]), "length >= 2"),
    (PREPROCESSING, lambda d: d.update(inputs=d["inputs"] * 2), "'text' twice"),
    (PREPROCESSING, lambda d: d["inputs"][0].update(tokenizer="bpe"), "kind 'bpe', got another kind"),
    (TOKENIZER, lambda d: d["model"].update(type="Unigram"), "Invalid value 'Unigram'"),
    (TOKENIZER, lambda d: d["model"]["vocab"].update(film=77), r"the ids 0, 1, 2"),
    (TOKENIZER, lambda d: d["model"]["vocab"].update(film=-1), r"the ids 0, 1, 2"),
    (TOKENIZER, lambda d: d["model"].update(vocab={"a": 0, "b": 1}), "<pad> with the id 0"),
    (TOKENIZER, lambda d: d["model"].update(vocab={}), "expected 2 to"),
    (TOKENIZER, lambda d: d["model"].update(type="BPE", merges=[["a", "b"]]), "expected merges of tokens|another kind"),
]


@pytest.mark.parametrize(("name", "change", "reason"), CORRUPT)
def test_a_file_that_was_tampered_with(
    name: str, change: Any, reason: str, reviews: Preprocessing, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        Preprocessing.load(written(reviews, tmp_path, name, change))


def test_merges_of_what_are_no_tokens(tmp_path: Path) -> None:
    fitted = Preprocessing.fit({"text": objects(REVIEWS)}, [TextOptions(tokenizer="bpe", tokens=300)])
    hostile = written(fitted, tmp_path, TOKENIZER, lambda d: d["model"]["merges"].append(["@@", "\x00"]))
    with pytest.raises(InvalidInputError, match="expected merges of tokens, got '@@'"):
        Preprocessing.load(hostile)


def test_what_else_a_tokenizer_file_says_is_not_followed(reviews: Preprocessing, tmp_path: Path) -> None:
    def change(document: Any) -> None:
        document["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "x"}
        document["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Removed", "invert": True}

    loaded = Preprocessing.load(written(reviews, tmp_path, TOKENIZER, change))
    inputs = {"text": objects([b"a great film"])}
    np.testing.assert_array_equal(loaded.encode(inputs)["ids"], reviews.encode(inputs)["ids"])


@pytest.mark.parametrize("name", [PREPROCESSING, TOKENIZER])
@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff\xfe", b"null", b'{"model": 1e999}'])
def test_a_file_that_is_none(name: str, content: bytes, reviews: Preprocessing, tmp_path: Path) -> None:
    reviews.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"^{name}: "):
        Preprocessing.load(tmp_path)


def test_a_file_that_is_too_large_or_missing(reviews: Preprocessing, tmp_path: Path) -> None:
    reviews.save(tmp_path)
    with (tmp_path / PREPROCESSING).open("r+b") as file:
        file.truncate(MAX_BYTES[PREPROCESSING] + 1)
    with pytest.raises(InvalidInputError, match="expected at most 16777216 bytes, got 16777217"):
        Preprocessing.load(tmp_path)
    (tmp_path / PREPROCESSING).unlink()
    with pytest.raises(InvalidInputError, match=r"expected a file preprocessing\.json: No such file"):
        Preprocessing.load(tmp_path)


def test_a_mix_of_everything(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Array] = {
        "age": rng.integers(0, 90, 50),
        "income": rng.normal(5e4, 1e4, 50),
        "photo": rng.integers(0, 256, (50, 4, 5, 3)).astype(np.uint8),
        "price": rng.normal(100, 7, 50),
    }
    options: list[Options] = [
        ScalingOptions(("age", "income")),
        ImageOptions("photo", "pixels"),
        TargetOptions("price"),
    ]
    Preprocessing.fit(columns, options).save(tmp_path)
    loaded = Preprocessing.load(tmp_path)
    found = loaded.encode({name: values for name, values in columns.items() if name != "price"})
    np.testing.assert_allclose(found["x"].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found["x"].std(axis=0), 1, rtol=1e-4)
    assert found["pixels"].shape == (50, 3, 4, 5)
    np.testing.assert_allclose(found["pixels"].mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found["pixels"].std(axis=(0, 2, 3)), 1, rtol=1e-4)
    model = Signature(
        (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("pixels", "FP32", (-1, 3, 4, 5))),
        (TensorSpec("y", "FP32", (-1, 1)),),
    )
    outer = loaded.signature(model)
    assert [str(t) for t in outer.inputs] == ["age: FP32 [-1]", "income: FP32 [-1]", "photo: UINT8 [-1, 4, 5, 3]"]
    assert [str(t) for t in outer.outputs] == ["price: FP32 [-1, 1]"]
