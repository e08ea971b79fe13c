"""An instance whose model is for the test to say, in a runner of this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.catalogue import Signature, TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard.errors import ModelExecutionError, ModelyardError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_response, encode_request
from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.loaded import BatchRecord, LoadedModel
from modelyard_worker.runtimes import Runtime

INSTANCE = ModelVersion("m", "1")


class Echo:
    """x FP32 [-1, 1] -> y, the same, when it is let go.

    Attributes:
        batches: the values of each batch, as it began.
        threads: in which it ran.
        closed: whether its memory was given back.
    """

    platform = "echo"
    labels: tuple[str, ...] = ()
    signature = Signature((TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),))

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.threads: set[int] = set()
        self.closed = False
        self.go = threading.Event()
        self.go.set()

    @property
    def executed(self) -> list[float]:
        return [value for batch in self.batches for value in batch]

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        values = inputs["x"].reshape(-1).tolist()
        self.batches.append(values)
        self.threads.add(threading.get_ident())
        self.go.wait(30)
        if any(value < 0 for value in values):
            raise ModelExecutionError("below 0")
        return {"y": inputs["x"]}

    def close(self) -> None:
        self.closed = True


def loaded(echo: Echo, *more: Echo, records: list[BatchRecord] | None = None, **options: Any) -> LoadedModel:
    """The instance m@1, of one copy or several."""
    copies: list[Runtime] = [echo, *more]
    observe = records.append if records is not None else None
    return LoadedModel(INSTANCE, "w0", copies, InstanceOptions(copies=len(copies), **options), observe)


def request(*values: float, **parameters: int | str | bool) -> bytes:
    """A serialized request with these values, one a row, and these parameters."""
    made = encode_request("m", "", {"x": np.array(values, np.float32).reshape(-1, 1)})
    for name, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(made.parameters[name], kind, value)
    return made.SerializeToString()


def values(response: bytes) -> list[float]:
    """The values of a serialized response."""
    found: list[float] = decode_response(messages.ModelInferResponse.FromString(response))["y"].reshape(-1).tolist()
    return found


def told(outcome: Outcome) -> list[float] | str:
    """The values that an outcome has, or the name of its error."""
    return type(outcome).__name__ if isinstance(outcome, ModelyardError) else values(b"".join(outcome))
