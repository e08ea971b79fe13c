"""The recipes of examples/: trained here, exported, and executed as a worker does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from examples.digits import data as digits
from examples.digits.recipe import Digits
from examples.regression import data as regression
from examples.regression.recipe import Regression
from examples.reviews import data as reviews
from examples.reviews.demo import SHORT
from examples.reviews.recipe import Reviews
from examples.tabular import data as tabular
from examples.tabular.recipe import Tabular
from modelyard.datasets.columns import Array
from modelyard.deployment import InstanceOptions
from modelyard.train import Recipe, TrainingOptions, run_local
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.export.exporting import export
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.run import trained
from modelyard_worker import runtimes


def served(recipe: Recipe, paths: tuple[Path, Path], target: str, options: TrainingOptions) -> runtimes.Runtime:
    """What a worker executes, once the recipe was trained on the first file."""
    train, held_out = (open_table(path, TableOptions(target=target)) for path in paths)
    result = run_local(recipe, train, held_out, options)
    record = TrainingRecord(options.seed, result.state.position)
    exports = export(trained(recipe, result.state, held_out, record), paths[0].parent / "exports")
    assert exports.served == "onnx"
    return runtimes.load("onnx", exports.artifact, InstanceOptions(), 1)


def signature(runtime: runtimes.Runtime) -> list[str]:
    return [str(tensor) for tensor in (*runtime.signature.inputs, *runtime.signature.outputs)]


def objects(*values: str) -> Array:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


def columns(path: Path, target: str) -> tuple[Mapping[str, Array], Array]:
    """The features and the targets of a file."""
    found = dict(open_table(path, TableOptions(target=target)).columns())
    truth = found.pop(target)
    return found, truth


def test_digits_are_told_apart(tmp_path: Path) -> None:
    paths = digits.write(tmp_path)
    runtime = served(Digits(), paths, "digit", TrainingOptions(epochs=12, batch_size=64))
    assert signature(runtime) == ["input: FP32 [-1, 64]", "output: FP32 [-1, 10]"]
    found, truth = columns(paths[1], "digit")
    answers = runtime.run({"input": found["pixels"]}, ["output"])["output"]
    assert len(truth) == 360
    assert (answers.argmax(axis=1) == truth).mean() >= 0.95


def test_noise_goes_away(tmp_path: Path) -> None:
    paths = regression.write(tmp_path)
    runtime = served(Regression(), paths, "clean", TrainingOptions(epochs=5, batch_size=64))
    assert signature(runtime) == ["input: FP32 [-1, 100]", "output: FP32 [-1, 100]"]
    found, truth = columns(paths[1], "clean")
    answers = runtime.run({"input": found["noisy"]}, ["output"])["output"]
    assert np.square(answers - truth).mean() < np.square(found["noisy"] - truth).mean() / 4


def test_the_rarer_class_is_found_too(tmp_path: Path) -> None:
    paths = tabular.write(tmp_path)
    runtime = served(Tabular(), paths, "diagnosis", TrainingOptions(epochs=10))
    assert len(signature(runtime)) == 32
    assert signature(runtime)[-2:] == ["label: BYTES [-1]", "score: FP32 [-1]"]
    found, truth = columns(paths[1], "diagnosis")
    answers = runtime.run({name: values.astype(np.float32) for name, values in found.items()}, ["label"])
    right = answers["label"] == truth.astype(str)
    assert right.mean() >= 0.9
    assert right[truth == b"malignant"].mean() >= 0.9


def test_reviews_are_read(tmp_path: Path) -> None:
    written = reviews.write(tmp_path)
    paths = written.train, written.held_out
    runtime = served(Reviews(length=32), paths, "label", TrainingOptions(epochs=5))
    assert signature(runtime) == ["text: BYTES [-1]", "label: BYTES [-1]", "score: FP32 [-1]"]
    found, truth = columns(written.held_out, "label")
    assert len(truth) == 160
    assert (runtime.run({"text": found["text"]}, ["label"])["label"] == truth.astype(str)).mean() >= 0.9
    assert runtime.run({"text": objects(*SHORT)}, ["label"])["label"].tolist() == [*SHORT.values()]
