"""A model whose artifact has preprocessing, on the command line: text in, label and score out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import InvalidInputError
from modelyard.preprocessing.files import DIRECTORY, TOKENIZER
from tests import reviews
from tests.integration.serving.conftest import Workbench


@pytest.fixture
async def served(client: Client, bench: Workbench, tmp_path: Path) -> str:
    """The name of a classifier of reviews that answers."""
    bench.names.add("reviews")
    directory = tmp_path / "reviews"
    directory.mkdir()
    published = await client.push("reviews", reviews.save(directory))
    assert [str(t) for t in published.signature.inputs] == ["text: BYTES [-1]"]
    (instance,) = (await client.deploy("reviews")).instances
    assert instance.state == "READY"
    assert (await client.metadata("reviews")).signature == published.signature
    return "reviews"


async def test_text_in_label_and_score_out(served: str, client: Client) -> None:
    found = await client.infer(served, {"text": np.array(["a great film", "dull &amp; <b>Dull</b>", "a film"])})
    assert found["label"].tolist() == [b"pos", b"neg", b"neg"]
    np.testing.assert_allclose(found["score"], [reviews.score(1), reviews.score(2), 0.5], rtol=1e-6)
    with pytest.raises(InvalidInputError, match="input 'text': row 0: expected text in UTF-8"):
        await client.infer(served, {"text": np.array([b"\xff"], object)})


def test_on_the_command_line(served: str, run: Callable[..., Any]) -> None:
    one = run("infer", served, "--input", "text=a great film")["outputs"]
    assert one["label"] == {"datatype": "BYTES", "shape": [1], "data": ["pos"]}
    assert one["score"]["data"] == pytest.approx([reviews.score(1)])
    two = run("infer", served, "--input", "text=" + json.dumps(["great", "dull"]))["outputs"]
    assert two["label"]["data"] == ["pos", "neg"]


async def test_preprocessing_that_is_corrupt_is_not_published(client: Client, tmp_path: Path) -> None:
    (reviews.save(tmp_path) / DIRECTORY / TOKENIZER).write_text("[]")
    with pytest.raises(InvalidInputError, match=r"tokenizer\.json: Expected `object`, got `array`"):
        await client.push("spoilt", tmp_path)
    assert "spoilt" not in {m.name for m in await client.models()}
