from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from modelyard import __version__, errors
from modelyard.catalogue import TensorSpec
from modelyard.cli.app import app, main
from modelyard.cli.inference import read_input
from modelyard.errors import InvalidInputError
from tests.unit.fakes import FakeSuite, serve_in_thread
from tests.waiting import wait_until

FP32 = TensorSpec("x", "FP32", (-1, 2))
INT8 = TensorSpec("x", "INT8", (-1,))
BYTES = TensorSpec("x", "BYTES", (-1, 1))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeSuite]:
    with serve_in_thread() as serving:
        yield serving


@pytest.fixture
def fakes(server: FakeSuite) -> FakeSuite:
    for part in (server.registry, server.scheduler, server.inference):
        part.failures.clear()
        part.calls.clear()
        part.tenants.clear()
    server.registry.models.clear()
    server.registry.versions.clear()
    server.registry.chunks.clear()
    server.scheduler.states = [("READY", "")]
    server.inference.datatype, server.inference.shape = "FP32", [-1, 2]
    return server


CATALOGUE = {"push", "models", "show", "alias", "rm", "pull"}
VERBS = CATALOGUE | {"deploy", "undeploy", "deployments", "infer", "workers", "logs", "why"}
Run = Callable[..., str]


@pytest.fixture
def run(fakes: FakeSuite) -> Run:
    """Run a command and return its standard output; fail unless it succeeds without a word on standard error."""

    def invoke(*arguments: str) -> str:
        result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    return invoke


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    return lambda *arguments: json.loads(run(*arguments, "--json"))


@pytest.fixture
def fail(fakes: FakeSuite) -> Run:
    """Run a command that must fail and return its one line on standard error."""

    def invoke(*arguments: str) -> str:
        result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return invoke


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not looked into")
    return str(path)


def test_push(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], model: str) -> None:
    options = ("--alias", "prod", "--label", "team=vision", "--label", "note=a=b,c", "--memory", "2GiB", "--cpu", "1.5")
    assert run("push", "digits", model, *options) == "pushed digits@1: 15 B sent, 0 B were there already\n"
    version = run_json("push", "digits", model, "--version", "9", "--tenant", "acme")
    assert (version["model"], version["version"], version["size_bytes"]) == ("digits", "9", 15)
    first = fakes.registry.versions["digits", "1"]
    assert dict(first.labels) == {"team": "vision", "note": "a=b,c"}
    assert (first.resources.cpu, first.resources.memory_bytes) == (1.5, 2 << 30)
    assert fakes.registry.models["digits"].aliases[0].name == "prod"
    assert "acme" in fakes.registry.tenants


def test_models_and_show(run: Run, run_json: Callable[..., Any], model: str) -> None:
    run("push", "digits", model, "--label", "[red]=x", "--description", "d" * 150)
    run("push", "reviews", model)
    assert [m["name"] for m in run_json("models")] == ["digits", "reviews"]
    assert [m["name"] for m in run_json("models", "rev")] == ["reviews"]
    assert "[red]=x" in run("models")
    assert "d" * 150 in run("models"), "a pipe gets cells whole"
    shown = run_json("show", "digits")
    assert shown["model"]["name"] == "digits"
    assert [v["version"] for v in shown["versions"]] == ["1"]
    assert "labels:      [red]=x" in run("show", "digits@1")


def test_alias(run: Run, model: str) -> None:
    run("push", "digits", model)
    assert run("alias", "digits", "prod", "1") == "digits@prod is digits@1\n"


def test_rm(fakes: FakeSuite, run: Run, fail: Run, model: str) -> None:
    run("push", "digits", model)
    assert run("rm", "digits") == "deleted digits\n"
    assert "'digits': not registered" in fail("rm", "digits")


def test_pull(run: Run, model: str, tmp_path: Path) -> None:
    run("push", "digits", model)
    assert run("pull", "digits", str(tmp_path / "copy")).startswith("pulled digits@1 (15 B) into ")
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == b"not looked into"


def test_deploy(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    assert run("deploy", "digits") == "digits@1: 1 of 1 READY on worker-0\n"
    fakes.scheduler.states = [("LOADING", "")]
    assert run_json("deploy", "digits@1", "--no-wait", "--replicas", "2")["replicas"] == 2
    fakes.scheduler.states = [("FAILED", "out of\nmemory")]
    assert fail("deploy", "digits") == "error: digits@1 failed to load on worker-0: out of memory\n"


def test_deployments_workers_undeploy(run: Run, run_json: Callable[..., Any]) -> None:
    assert "worker-0 READY" in run("deployments")
    assert run_json("deployments")[0]["instances"][0]["state"] == "READY"
    assert "8 GiB" in run("workers")
    assert run_json("workers")[0]["placements"] == ["digits@1"]
    assert run("undeploy", "digits") == "undeployed digits@1\n"


def test_why_and_logs(run: Run, run_json: Callable[..., Any]) -> None:
    assert run("why", "digits") == "no worker has 2 GiB free\n"
    assert run("logs", "digits") == "".join(f"==> worker-{n} digits@1 <==\nloading\nloaded\n" for n in (0, 1))
    assert run_json("logs", "digits")[1] == {"worker": "worker-1", "version": "1", "data": "loading\nloaded\n"}


def test_infer(run: Run, run_json: Callable[..., Any], tmp_path: Path) -> None:
    assert run("infer", "digits", "--input", "x=[[1,2]]") == "digits@1 on worker-0\nx: FP32 [1, 2]\n[[1. 2.]]\n"
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.int16))
    answer = run_json("infer", "digits@prod", "--input", f"x=@{tmp_path / 'x.npy'}")
    assert answer["outputs"] == {"x": {"datatype": "INT16", "shape": [4], "data": [0, 1, 2, 3]}}
    assert (answer["version"], answer["worker"]) == ("prod", "worker-0")


def test_infer_text(fakes: FakeSuite, run_json: Callable[..., Any], tmp_path: Path) -> None:
    fakes.inference.datatype, fakes.inference.shape = "BYTES", [-1, 1]
    answer = run_json("infer", "reviews", "--input", "x=a good film", "--output", str(tmp_path / "y.npy"))
    assert answer["outputs"]["x"] == {"datatype": "BYTES", "shape": [1, 1], "data": [["a good film"]]}
    assert np.load(tmp_path / "y.npy").tolist() == [[b"a good film"]]


def test_infer_keeps_outputs(run: Run, fail: Run, tmp_path: Path) -> None:
    inputs = ("--input", "x=[[1,2]]", "--input", "z=[1]")
    assert "expected a .npz file for the 2 outputs x, z" in fail("infer", "m", *inputs, "--output", f"{tmp_path}/y.npy")
    run("infer", "m", *inputs, "--output", f"{tmp_path}/y.npz")
    assert set(np.load(tmp_path / "y.npz")) == {"x", "z"}
    assert "ends in .npy or .npz" in fail("infer", "m", *inputs, "--output", "y.csv")
    assert "No such file or directory" in fail("infer", "m", *inputs, "--output", f"{tmp_path}/absent/y.npz")


@pytest.mark.parametrize(
    ("text", "spec", "expected"),
    [
        ("[[1, 2]]", FP32, np.array([[1, 2]], np.float32)),
        ("0.5", TensorSpec("x", "FP32", (1,)), np.array([0.5], np.float32)),
        ("[1, -2]", INT8, np.array([1, -2], np.int8)),
        ("[1, 2]", TensorSpec("x", "FP16", (2,)), np.array([1, 2], np.float16)),
        ("[true]", TensorSpec("x", "BOOL", (1,)), np.array([True])),
        ("42", BYTES, np.array([["42"]])),
        ('"[1]"', BYTES, np.array([["[1]"]])),
        ('[["a"], ["b"]]', BYTES, np.array([["a"], ["b"]])),
        ("[1, 2]", None, np.array([1, 2])),
    ],
)
def test_inputs_become_what_the_model_wants(text: str, spec: TensorSpec | None, expected: Any) -> None:
    array = read_input("x", text, spec)
    np.testing.assert_array_equal(array, expected)
    assert array.shape == expected.shape
    assert array.dtype.kind == expected.dtype.kind
    assert expected.dtype.kind == "U" or array.dtype == expected.dtype


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("some text", FP32, "expected FP32, got text"),
        ("[1.5]", TensorSpec("x", "BF16", (1,)), "wants BF16, which cannot be written here"),
        ("[1.5]", INT8, "expected INT8, got numbers with a fraction"),
        ("[300]", INT8, "expected values in the range of INT8"),
        ("[1, 2]", BYTES, "expected BYTES, got integers"),
        ("[[1], [1, 2]]", FP32, "expected rows of equal length"),
        ('{"a": 1}', BYTES, "expected BYTES, got"),
        ("@absent.npy", FP32, r"expected a file at absent\.npy, found nothing"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(text: str, spec: TensorSpec, message: str) -> None:
    if text.startswith("{"):
        text = f"[{text}]"
    with pytest.raises(InvalidInputError, match=message):
        read_input("x", text, spec)


def test_files_that_hold_no_array_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for content in (b"", b"not numpy's"):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match="expected an array in"):
            read_input("x", f"@{path}", None)
    np.savez(tmp_path / "x.npz", x=np.zeros(1))
    with pytest.raises(InvalidInputError, match="expected one array in"):
        read_input("x", f"@{tmp_path / 'x.npz'}", None)
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InvalidInputError, match="expected an array in"):
        read_input("x", f"@{path}", None)


def test_an_error_is_one_line(fakes: FakeSuite, fail: Run, model: str) -> None:
    assert fail("show", "absent") == "error: model 'absent': not registered\n"
    assert "expected a file or directory, found nothing" in fail("push", "digits", f"{model}.absent")
    assert "--memory: expected a size such as" in fail("push", "digits", model, "--memory", "lots")
    assert "--label: expected key=value, got 'x'" in fail("push", "digits", model, "--label", "x")
    assert "expected either a version or --delete" in fail("alias", "digits", "prod")
    fakes.scheduler.failures["Undeploy"] = [errors.UnavailableError("several\nlines")]
    assert fail("undeploy", "digits") == "error: several lines\n"
    assert "nothing answers there" in fail("models", "--address", "127.0.0.1:1")


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_a_wrong_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("nosuch",), ("--nosuch",), ("push",), ("infer", "m"), ("up", "--workers", "-1")):
        status, out, err = run_main(capsys, *arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(capsys, "version") == (0, f"modelyard {__version__}\n", "")
    assert run_main(capsys, "version", "--json") == (0, json.dumps({"version": __version__}) + "\n", "")
    assert run_main(capsys)[:2] == run_main(capsys, "--help")[:2]


def test_every_command_has_json_and_those_for_a_server_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    here = {"up", "down", "status", "version"}
    for name in here | VERBS:
        _, text, _ = run_main(capsys, name, "--help")
        assert "--json" in text
        assert all((option in text) == (name not in here) for option in ("--address", "--tenant"))


def test_status_of_a_directory_without_a_suite(run: Run, run_json: Callable[..., Any], tmp_path: Path) -> None:
    assert run("status", "--dir", str(tmp_path)) == f"modelyard does not run in {tmp_path}\n"
    assert run_json("status", "--dir", str(tmp_path))["running"] is False
    assert list(run_json("down", "--dir", str(tmp_path))) == ["message"]


def test_an_interrupt_ends_with_130(fakes: FakeSuite) -> None:
    fakes.inference.hold = asyncio.Event()
    command = [sys.executable, "-c", "from modelyard.cli.app import main; main()"]
    arguments = ["infer", "m", "--input", "x=[[1,2]]", "--address", fakes.address]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: fakes.inference.calls["ModelInfer"])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    fakes.inference.hold = None
    assert (process.returncode, out, err) == (130, b"", b"")
