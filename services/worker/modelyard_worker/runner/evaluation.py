"""A batch of requests: stack the inputs, run the model once, take the outputs apart."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.errors import InternalError, ModelExecutionError, ModelyardError
from modelyard.names import ModelVersion
from modelyard.oip.tensors import Array
from modelyard_worker.runner.answers import Answers, Pieces
from modelyard_worker.runner.requests import Request
from modelyard_worker.runtimes import Runtime

log = logging.getLogger(__name__)
Outcome = Pieces | ModelyardError


@dataclass
class Evaluated:
    """What became of each request of a batch, and how long it took: inputs, model, outputs; how many failed."""

    outcomes: list[Outcome]
    input_s: float = 0.0
    infer_s: float = 0.0
    output_s: float = 0.0
    failed: int = 0

    def add(self, other: Evaluated) -> None:
        """Append another batch."""
        self.outcomes += other.outcomes
        self.input_s += other.input_s
        self.infer_s += other.infer_s
        self.output_s += other.output_s
        self.failed += other.failed


class Evaluator:
    """Executes batches on one copy of a model."""

    def __init__(self, instance: ModelVersion, runtime: Runtime, answers: Answers) -> None:
        self._instance = instance
        self._runtime = runtime
        self._answers = answers
        self._names = [t.name for t in runtime.signature.outputs]

    def evaluate(self, batch: Sequence[Request]) -> Evaluated:
        """Execute requests together; where that fails, each by itself, so that a bad one fails alone."""
        try:
            return self._together(batch)
        except Exception as error:
            if len(batch) == 1:
                return Evaluated([failure(self._instance, error)], failed=1)
        parts = Evaluated([])
        for request in batch:
            parts.add(self.evaluate([request]))
        return parts

    def close(self) -> None:
        """Give the model's memory back."""
        self._runtime.close()

    def _together(self, batch: Sequence[Request]) -> Evaluated:
        began_s = time.monotonic()
        inputs = _stacked(batch)
        names = self._wanted(batch)
        ready_s = time.monotonic()
        outputs = self._runtime.run(inputs, names)
        ran_s = time.monotonic()
        if batch[0].form.kind is None:
            answers = [self._answers.of_one(batch[0], outputs)]
        else:
            _check_rows(outputs, sum(r.form.rows for r in batch))
            answers = self._answers.of_batch(batch, outputs)
        return Evaluated([*answers], ready_s - began_s, ran_s - ready_s, time.monotonic() - ran_s)

    def _wanted(self, batch: Sequence[Request]) -> list[str]:
        forms = {r.form for r in batch}
        wanted = {w.name for form in forms for w in form.outputs}
        return [name for name in self._names if name in wanted]


def failure(instance: ModelVersion, error: Exception) -> ModelyardError:
    """What the caller is told; anything unforeseen is logged."""
    if isinstance(error, ModelyardError):
        return type(error)(f"model {str(instance)!r}: {error.message}", retry_after_s=error.retry_after_s)
    log.error("unforeseen error in a call", exc_info=error)
    return InternalError("internal error in the runner; its log has the stack")


def _stacked(batch: Sequence[Request]) -> dict[str, Array]:
    if len(batch) == 1:
        return {name: _aligned(array) for name, array in batch[0].inputs.items()}
    return {name: np.concatenate([r.inputs[name] for r in batch]) for name in batch[0].inputs}


def _aligned(array: Array) -> Array:
    """The array, at an address where an engine may expect its elements: within a message it stands anywhere."""
    return array if array.flags.aligned else array.copy()


def _check_rows(outputs: dict[str, Array], rows: int) -> None:
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise ModelExecutionError(
                f"output {name!r}: expected as many rows as the inputs of the batch have, {rows}, got the shape "
                f"{list(array.shape)}; a model that does not treat each row by itself needs max_batch_size 0"
            )
