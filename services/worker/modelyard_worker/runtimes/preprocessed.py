"""A model between what its artifact's preprocessing encodes and decodes, a whole batch at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from modelyard.oip.tensors import Array
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard_worker.runtimes import Runtime


class PreprocessedRuntime:
    """Takes and returns what callers send and get; see Runtime."""

    def __init__(self, model: Runtime, preprocessing: Preprocessing) -> None:
        """Enclose a model.

        Raises:
            InvalidInputError: its inputs or outputs are not those that the preprocessing was fitted for.
        """
        self._model = model
        self._preprocessing = preprocessing
        self.platform = model.platform
        self.labels = model.labels
        self.signature = preprocessing.signature(model.signature)

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Encode, execute, decode; see Runtime."""
        encoded = self._preprocessing.encode(inputs)
        found = self._preprocessing.decode(self._model.run(encoded, self._preprocessing.sources(outputs)))
        return {name: found[name] for name in outputs}

    def close(self) -> None:
        """See Runtime."""
        self._model.close()


def enclose(model: Runtime, directory: Path) -> PreprocessedRuntime:
    """Enclose a model in the preprocessing of a directory; where that cannot be done the model is closed.

    Raises:
        InvalidInputError: a file is missing or corrupt, or not for this model.
    """
    # A batch is tokenised by the thread that executes it: cores are the instances' to share.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return PreprocessedRuntime(model, Preprocessing.load(directory))
    except Exception:
        model.close()
        raise
