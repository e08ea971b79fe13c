"""The runtime that occupies the device and burns no CPU."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES
from modelyard_worker import runtimes
from modelyard_worker.runtimes.delay import ABORT, DELAY_MS, DELAY_MS_PER_ROW, DelayRuntime
from tests import models

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 3)),))
ONE = {"x": np.zeros((1, 4), np.float32)}


def saved(directory: Path, **metadata: str) -> Path:
    model = models.mlp((4, 3))
    onnx.helper.set_model_props(model, {f"modelyard.{key}": value for key, value in metadata.items()})
    models.save(model, directory / "model.onnx")
    return directory


def waits_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def test_metadata_counts_only_where_it_is_asked_for(tmp_path: Path) -> None:
    saved(tmp_path, delay_ms="5")
    plain = runtimes.load("onnx", tmp_path, InstanceOptions(), 1)
    delayed = runtimes.load("onnx", tmp_path, InstanceOptions(), 1, test_runtime="delay")
    assert (plain.platform, delayed.platform) == ("onnxruntime_onnx", "modelyard_delay")
    assert plain.signature == delayed.signature == SIGNATURE


def test_a_model_without_that_metadata_is_executed(tmp_path: Path) -> None:
    saved(tmp_path)
    assert runtimes.load("onnx", tmp_path, InstanceOptions(), 1, test_runtime="delay").platform == "onnxruntime_onnx"


def test_a_slower_worker_takes_a_multiple_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = waits_s(monkeypatch)
    saved(tmp_path, delay_ms="5", delay_ms_per_row="10")
    for hook in ("delay", "delay:2"):
        runtimes.load("onnx", tmp_path, InstanceOptions(), 1, test_runtime=hook).run(ONE, ["y"])
    assert waited == [pytest.approx(0.015), pytest.approx(0.03)]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_delay_for_each_batch_and_each_row(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = waits_s(monkeypatch)
    runtime = DelayRuntime(SIGNATURE, {DELAY_MS: "2.5", DELAY_MS_PER_ROW: "10"})
    found = runtime.run({"x": np.ones((rows, 4), np.float32)}, ["y"])
    assert waited == [pytest.approx(0.0025 + 0.01 * rows)]
    assert found["y"].dtype == np.float32
    assert found["y"].tolist() == np.zeros((rows, 3)).tolist()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_zeros_of_every_datatype(datatype: str) -> None:
    outputs = (TensorSpec("y", datatype, (-1, -1, 2)), TensorSpec("z", datatype, ()))
    found = DelayRuntime(Signature(SIGNATURE.inputs, outputs), {}).run({"x": np.ones((5, 4), np.float32)}, ["y"])
    assert list(found) == ["y"]
    assert found["y"].shape == (5, 1, 2)
    assert set(found["y"].reshape(-1).tolist()) == {"" if datatype == "BYTES" else 0}


def test_all_copies_share_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, together = threading.Lock(), []

    def occupy(seconds: float) -> None:
        if not busy.acquire(blocking=False):
            together.append(seconds)
            return
        threading.Event().wait(seconds)
        busy.release()

    monkeypatch.setattr(time, "sleep", occupy)
    copies = [DelayRuntime(SIGNATURE, {DELAY_MS: "10"}) for _ in range(4)]
    threads = [threading.Thread(target=copy.run, args=(ONE, ["y"])) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == []


def test_it_burns_no_cpu() -> None:
    runtime = DelayRuntime(SIGNATURE, {DELAY_MS: "200"})
    used_s = time.thread_time()
    runtime.run(ONE, ["y"])
    assert time.thread_time() - used_s < 0.1


@pytest.mark.parametrize("text", ["many", "-1", "nan", "inf", ""])
def test_a_delay_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"modelyard\.delay_ms: expected milliseconds, 0 or more, got "):
        DelayRuntime(SIGNATURE, {DELAY_MS: text})


def test_an_input_with_a_nan_ends_the_process_where_the_model_says_so(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from modelyard.deployment import InstanceOptions\n"
        "from modelyard_worker import runtimes\n"
        "runtime = runtimes.load('onnx', Path(sys.argv[1]), InstanceOptions(), 1, test_runtime='delay')\n"
        "assert runtime.run({'x': np.zeros((1, 4), np.float32)}, ['y'])['y'].shape == (1, 3)\n"
        "print('answered', flush=True)\n"
        "runtime.run({'x': np.full((1, 4), np.nan, np.float32)}, ['y'])\n"
    )
    command = [sys.executable, "-c", program, str(saved(tmp_path, abort="1"))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-6, "answered\n")
    runtime = DelayRuntime(SIGNATURE, {ABORT: "0"})
    assert runtime.run({"x": np.full((1, 4), np.nan, np.float32)}, ["y"])["y"].shape == (1, 3)
