"""A report as etcd has it."""

from __future__ import annotations

from typing import Any

from modelyard import codec
from modelyard.jobs.training_progress import TrainingReport


def report_of(data: bytes) -> TrainingReport:
    """Read a report. What is not finite has no JSON but null: such values are left out.

    Raises:
        MalformedError: it is none.
    """
    found = codec.decode(dict[str, Any], data)
    for measurement in found.get("latest") or ():
        values = measurement.get("values") or {}
        measurement["values"] = {name: value for name, value in values.items() if value is not None}
    return codec.of_json(TrainingReport, found)
