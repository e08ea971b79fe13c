"""Models that their artifact's preprocessing encloses."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_response, encode_request
from modelyard.preprocessing.files import DIRECTORY, PREPROCESSING, TOKENIZER
from modelyard_worker import runtimes
from modelyard_worker.runner.loaded import BatchRecord, LoadedModel
from modelyard_worker.runner.requests import check_batching
from modelyard_worker.runner.warm_up import warm_up
from modelyard_worker.runtimes.preprocessed import PreprocessedRuntime
from tests import models, reviews
from tests.unit.worker.instances import Echo


def load(directory: Path) -> runtimes.Runtime:
    return runtimes.load("onnx", directory, InstanceOptions(), 1)


def texts(*values: str) -> Array:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


def test_it_takes_text_and_answers_label_and_score(tmp_path: Path) -> None:
    runtime = load(reviews.save(tmp_path))
    assert runtime.platform == "onnxruntime_onnx"
    assert [str(t) for t in (*runtime.signature.inputs, *runtime.signature.outputs)] == [
        "text: BYTES [-1]",
        "label: BYTES [-1]",
        "score: FP32 [-1]",
    ]
    inputs = {"text": texts("A great, <i>GREAT</i> film", "so dull", "great dull great dull dull")}
    found = runtime.run(inputs, ["score", "label"])
    assert list(found) == ["score", "label"]
    assert found["label"].tolist() == ["pos", "neg", "neg"]
    np.testing.assert_allclose(found["score"], [reviews.score(2), reviews.score(1), reviews.score(1)], rtol=1e-6)
    assert list(runtime.run(inputs, ["label"])) == ["label"]
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    check_batching(runtime.signature)
    warm_up(runtime, [1, 3])
    runtime.close()


async def test_calls_of_an_instance_go_together_and_a_bad_one_fails_alone(tmp_path: Path) -> None:
    records: list[BatchRecord] = []
    runtime = load(reviews.save(tmp_path))
    options = InstanceOptions(max_batch_size=16, max_queue_delay_us=1_000_000, preferred_batch_sizes=(4,))
    model = LoadedModel(ModelVersion("reviews", "1"), "w", [runtime], options, records.append)
    calls = [texts("great"), texts("dull", "dull dull"), np.array([b"\xff"], object)]
    requests = [encode_request("reviews", "1", {"text": call}).SerializeToString() for call in calls]
    found = await asyncio.gather(*(model.infer(data, 30) for data in requests), return_exceptions=True)
    await model.close()
    answers = [decode_response(messages.ModelInferResponse.FromString(a)) for a in found if isinstance(a, bytes)]
    assert [answer["label"].tolist() for answer in answers] == [[b"pos"], [b"neg", b"neg"]]
    np.testing.assert_allclose(answers[1]["score"], [reviews.score(1), reviews.score(2)], rtol=1e-6)
    assert isinstance(found[2], InvalidInputError)
    assert "input 'text': row 0: expected text in UTF-8" in found[2].message


@pytest.mark.parametrize("name", [PREPROCESSING, TOKENIZER])
def test_preprocessing_that_is_corrupt_is_refused_at_loading(name: str, tmp_path: Path) -> None:
    (reviews.save(tmp_path) / DIRECTORY / name).write_text("{}")
    with pytest.raises(InvalidInputError, match=f"^{name}: "):
        load(tmp_path)
    (tmp_path / DIRECTORY / name).unlink()
    with pytest.raises(InvalidInputError, match=f"expected a file {name}"):
        load(tmp_path)


def test_a_model_that_it_is_not_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"'ids' of INT64 \[-1, 8\]; it has ids: INT64 \[-1, 9\]"):
        load(reviews.save(tmp_path, length=9))


def test_a_model_is_given_back_if_its_preprocessing_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    echo = Echo()
    monkeypatch.setattr(runtimes, "_load_model", lambda *_: echo)
    reviews.save(tmp_path)
    with pytest.raises(InvalidInputError, match="expected a model with the input 'ids'; it has x"):
        load(tmp_path)
    assert echo.closed


def test_a_model_without_preprocessing_is_as_it_is(tmp_path: Path) -> None:
    models.save(models.mlp((4, 2)), tmp_path / "m.onnx")
    runtime = load(tmp_path)
    assert not isinstance(runtime, PreprocessedRuntime)
    runtime.close()
