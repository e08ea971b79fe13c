"""The GPUs of this machine: those that the driver lists and that an engine can use."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.deployment import Device

log = logging.getLogger(__name__)

QUERY_TIMEOUT_S = 20
ENGINES_TIMEOUT_S = 120
"""Importing the engines from a cold disk takes its time; they are asked only where the driver lists a GPU."""

INSTALL = "install modelyard-worker[cuda] and a build of torch for CUDA"
_ENGINES = [sys.executable, "-m", "modelyard_worker.runtimes.devices"]


@dataclass(frozen=True)
class Engines:
    """What the engines can use: torch's devices, in CUDA's numbering, and whether ONNX Runtime was built for CUDA."""

    torch: tuple[Device, ...] = ()
    onnxruntime: bool = False


def found_devices() -> tuple[Device, ...]:
    """Return the GPUs that models can be placed on; what stands in the way of one is logged.

    Where torch can use them, its list counts: it knows CUDA_VISIBLE_DEVICES, a container's share and the instance
    that a partitioned GPU (MIG) offers, with its memory. Else ONNX Runtime uses what nvidia-smi lists unpartitioned.
    """
    listed = _listed()
    if not listed:
        return ()
    engines = _engines()
    if engines.torch:
        if not engines.onnxruntime:
            log.warning("ONNX models cannot use the GPUs", extra={"reason": f"ONNX Runtime is for CPUs; {INSTALL}"})
        return engines.torch
    devices = tuple(device for device, partitioned in listed if engines.onnxruntime and not partitioned)
    reason = f"{len(listed)} listed by nvidia-smi, not usable by torch; {INSTALL}"
    log.warning("torch cannot use the GPUs" if devices else "no engine can use the GPUs", extra={"reason": reason})
    return devices


def _listed() -> list[tuple[Device, bool]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=index,name,memory.total,mig.mode.current", "--format=csv,noheader,nounits"]
    try:
        return parse_listing(_output(query, QUERY_TIMEOUT_S))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("no accelerator can be used", extra={"reason": str(error)})
        return []


def parse_listing(listing: str) -> list[tuple[Device, bool]]:
    """Read nvidia-smi's lines of index, name, memory in MiB and MIG mode: each GPU, and whether it is partitioned.

    Memory that it does not know ("[N/A]") is 0.
    """
    rows = csv.reader(listing.splitlines(), skipinitialspace=True)
    return [
        (Device(f"cuda:{index}", name, int(mebibytes) << 20 if mebibytes.isdecimal() else 0), mode == "Enabled")
        for index, name, mebibytes, mode in rows
    ]


def _engines() -> Engines:
    try:
        return parse_engines(_output(_ENGINES, ENGINES_TIMEOUT_S))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("the engines do not say what they can use", extra={"reason": str(error)})
        return Engines()


def parse_engines(text: str) -> Engines:
    """Read what modelyard_worker.runtimes.devices prints; raise ValueError if it is something else."""
    try:
        document = json.loads(text)
        torch = tuple(Device(f"cuda:{number}", name, size_bytes) for number, name, size_bytes in document["torch"])
        return Engines(torch, bool(document["onnxruntime"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"expected the engines' devices as JSON, got {text[:200]!r}") from None


def _output(command: Sequence[str], timeout_s: float) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_s).stdout
