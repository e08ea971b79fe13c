"""What comes of a script: the files that it has left in MODELYARD_OUTPUT, as a version's artifact."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from modelyard.catalogue import Lineage, Signature
from modelyard.chunks import RECIPE
from modelyard.jobs.gang import Charter
from modelyard.jobs.release import description, metric_name
from modelyard.rpc.publishing import Publication
from modelyard.train.export.weights import write_signature
from modelyard_worker.trainer.data import name_of

log = logging.getLogger(__name__)
METRICS = "metrics.json"
MOST_METRICS = 100
WEIGHTS_ALONE = f"the script has left weights without a {RECIPE} that says what they take and return"
_WEIGHTS, _MODELS = ".safetensors", (".onnx", ".pt2")


class Outcome:
    """Publishes what there is, once."""

    def __init__(self, charter: Charter, output: Path, staging: Path, send: Callable[[Path, Publication], str]) -> None:
        """Nothing is done yet.

        Args:
            charter: of the job.
            output: where the script leaves files.
            staging: a directory on the same disk, made anew.
            send: publishes an artifact, and returns the version; it may be repeated.
        """
        self._charter = charter
        self._output = output
        self._staging = staging
        self._send = send
        self._version: str | None = None

    def publish(self) -> str:
        """Return the version; empty: the script has left nothing of which one can be made.

        Raises:
            InvalidInputError: it is no artifact.
            ModelyardError: the registry does not take it, or is away for too long.
            OSError: the disk.
        """
        if self._version is None:
            files = [path for path in self._output.rglob("*") if path.is_file()]
            self._version = self._sent() if any(path.name != METRICS for path in files) else ""
        return self._version

    def _sent(self) -> str:
        shutil.rmtree(self._staging, ignore_errors=True)
        shutil.copytree(self._output, self._staging, symlinks=True, copy_function=os.link)
        reason = WEIGHTS_ALONE if _are_weights_alone(self._staging) else ""
        if reason:
            write_signature(self._staging, Signature())
        version = self._send(self._staging, _publication(self._charter, reason, metrics(self._staging / METRICS)))
        log.info("published", extra={"model": self._charter.spec.model, "version": version})
        return version


def _publication(charter: Charter, reason: str, values: Mapping[str, float]) -> Publication:
    spec = charter.spec
    return Publication(
        model=spec.model,
        request=charter.job,
        tenant=charter.tenant,
        description=description(charter.job, None, reason),
        labels={"code": spec.code.artifact.manifest_digest},
        lineage=Lineage(job=charter.job, dataset=name_of(spec.data.dataset)),
        metrics=values,
    )


def metrics(path: Path) -> dict[str, float]:
    """Return the numbers by name that a JSON file has; what is none, or not finite, costs itself, not the job."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        log.error("no metrics", extra={"reason": f"{METRICS}: expected JSON: {error}"})
        return {}
    if not isinstance(found, dict):
        log.error("no metrics", extra={"reason": f"{METRICS}: expected numbers by name, got {type(found).__name__}"})
        return {}
    numbers = {metric_name(name): float(value) for name, value in found.items() if _is_number(value)}
    return dict(list(numbers.items())[:MOST_METRICS])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_weights_alone(directory: Path) -> bool:
    names = [path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()]
    has_weights = any(name.endswith(_WEIGHTS) for name in names)
    return has_weights and RECIPE not in names and not any(name.endswith(_MODELS) for name in names)
