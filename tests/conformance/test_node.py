"""examples/node: Node.js with the project's protos and no generated code, as a client of the running suite."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import modelyard
from tests.conformance.conftest import Served
from tests.conformance.foreign import ROOT, find_node, run

EXAMPLE = ROOT / "examples/node"
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def node() -> list[str]:
    """The command of Node.js, once the example's packages are installed as its lock file says."""
    found = find_node()
    installed, locked = EXAMPLE / "node_modules/.package-lock.json", EXAMPLE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        run([*found.npm, "ci", "--no-audit", "--no-fund"], EXAMPLE)
    return found.node


@pytest.fixture(scope="module")
def said(served: Served, node: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the example prints, by the words before the colon."""
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere")
    command = [*node, str(EXAMPLE / "index.js"), "--address", served.address, "--model", served.digits]
    return dict(line.split(": ", 1) for line in run(command, elsewhere).splitlines())


def pixels() -> list[int]:
    """The digit that the example sends."""
    found = re.search(r"const PIXELS = \[([^\]]*)\]", (EXAMPLE / "index.js").read_text())
    assert found
    return [int(number) for number in found[1].replace("\n", " ").split(",") if number.strip()]


def test_health(said: dict[str, str]) -> None:
    assert (said["live"], said["ready"], said["model ready"]) == ("true", "true", "true")


def test_metadata(said: dict[str, str], served: Served) -> None:
    assert said["server"] == f"modelyard {modelyard.__version__}"
    assert said["model"] == f"{served.digits} 1 on onnxruntime_onnx: x FP32 [-1,64] -> y FP32 [-1,10]"


def test_infer_equals_a_local_run(said: dict[str, str], served: Served) -> None:
    row = (np.array(pixels(), np.float32) / 16)[None]
    expected = onnxruntime.InferenceSession(served.digits_file).run(None, {"x": row})[0][0]
    np.testing.assert_allclose(np.array(json.loads(said["scores"])), expected, rtol=0, atol=TOLERANCE)
    assert re.fullmatch(rf"{expected.argmax()}, said worker-[01]", said["digit"])


def test_errors_have_their_status(said: dict[str, str]) -> None:
    assert said["unknown model"].startswith("NOT_FOUND (NotFoundError): ")
    assert "no-such-model" in said["unknown model"]
    assert said["wrong shape"].startswith("INVALID_ARGUMENT (InvalidInputError): ")
    assert "[-1, 64]" in said["wrong shape"]


def test_the_lock_file_names_no_download_host() -> None:
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)
    wanted = json.loads((EXAMPLE / "package.json").read_text())["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
