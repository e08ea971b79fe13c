from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from modelyard.cli.output import Output, span, table
from modelyard.errors import NotFoundError
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


def lines(text: str) -> list[str]:
    """The text's lines with single blanks."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_models(run: Run, run_json: Callable[..., Any], model: str) -> None:
    run("push", "digits", model, "--label", "[red]=x", "--description", "d" * 150)
    run("push", "reviews", model)
    assert [m["name"] for m in run_json("models")] == ["digits", "reviews"]
    assert [m["name"] for m in run_json("models", "rev")] == ["reviews"]
    assert "[red]=x" in run("models")
    assert "d" * 150 in run("models"), "a pipe gets cells whole"
    assert all(line == line.rstrip() for line in run("models").splitlines())


def test_labels_and_metrics_come_in_order(run: Run, run_json: Callable[..., Any], model: str) -> None:
    labels = [f"--label=key-{n}=x" for n in range(20)]
    metrics = [f"--metric=key-{n}=1" for n in range(20)]
    version = run_json("push", "digits", model, *labels, *metrics)
    assert list(version["labels"]) == list(version["metrics"]) == sorted(f"key-{n}" for n in range(20))
    assert "key-0=x, key-1=x, key-10=x" in run("show", "digits@1")


def test_deleted_models_are_listed_where_asked_for(run: Run, run_json: Callable[..., Any], model: str) -> None:
    run("push", "digits", model)
    run("rm", "digits")
    assert run_json("models") == []
    assert [(m["name"], m["state"]) for m in run_json("models", "--deleted")] == [("digits", "DELETED")]
    assert "DELETED, can be brought back until 2027-01-15 08:00:00" in run("models", "--deleted")


def test_show_a_model(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], model: str) -> None:
    run("push", "digits", model, "--description", "reads [digits]", "--metric", "accuracy=0.5", "--alias", "prod")
    run("push", "digits", model, "--parent", "digits@1")
    run("update", "digits", "--keep-last", "5")
    fakes.registry.versions["digits", "2"].signature.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    shown = run_json("show", "digits")
    assert shown["model"]["name"] == "digits"
    assert [v["version"] for v in shown["versions"]] == ["1", "2"]
    assert shown["files"] == []
    text = lines(run("show", "digits"))
    for line in ("description: reads [digits]", "aliases: prod=1", "keeps: the last 5 versions", "state: ACTIVE"):
        assert line in text
    assert "signature: in x: FP32 [-1, 2]" in text
    newest, oldest = text[-2], text[-1]
    assert newest.startswith("2 ")
    assert newest.endswith(" onnx 1")
    assert oldest.endswith("onnx prod accuracy=0.5")


def test_show_a_version(run: Run, run_json: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"not looked into")
    (tmp_path / "labels.txt").write_bytes(b"0" * 2048)
    options = ("--label", "[red]=x", "--memory", "1GiB", "--job", "train-7", "--metric", "loss=0.25", "--alias", "prod")
    run("push", "digits", str(tmp_path), *options)
    shown = run_json("show", "digits@prod")
    assert shown["files"] == [{"path": "labels.txt", "size_bytes": 2048}, {"path": "net.onnx", "size_bytes": 15}]
    text = lines(run("show", "digits@prod"))
    for line in (
        "version: digits@1",
        "labels: [red]=x",
        "aliases: prod",
        "state: ACTIVE",
        "format: onnx",
        "needs: memory 1 GiB",
        "job: train-7",
        "metrics: loss=0.25",
        "size: 2.015 KiB in 2 files",
        f"manifest: {shown['versions'][0]['manifest_digest']}",
        "labels.txt 2 KiB",
        "net.onnx 15 B",
    ):
        assert line in text
    assert not any(line.startswith(("parent", "dataset", "changed")) for line in text), "what is empty is left out"


def test_show_what_is_deleted(run: Run, run_json: Callable[..., Any], fail: Run, model: str) -> None:
    run("push", "digits", model)
    run("push", "digits", model)
    run("rm", "digits@1")
    assert [v["version"] for v in run_json("show", "digits")["versions"]] == ["2"]
    assert [v["version"] for v in run_json("show", "digits", "--deleted")["versions"]] == ["1", "2"]
    assert lines(run("show", "digits", "--deleted"))[-1] == "deleted"
    assert "state: DELETED, can be brought back until 2027-01-15 08:00:00" in lines(run("show", "digits@1"))
    assert fail("show", "absent") == "error: model 'absent': not registered\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "0.3 s"),
        (59, "59 s"),
        (61, "1 min"),
        (7260, "2 h 1 min"),
        (604_799, "7 d"),
        (601_000, "6 d 22 h"),
        (86_400, "1 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_an_empty_filter_is_one(fakes: FakeSuite, fail: Run) -> None:
    for option in ("--filter", "--order-by"):
        assert "Method not found" in fail("models", option, ""), "a search, which this server lacks"
    assert not fakes.registry.calls["ListModels"]


def test_controls_do_not_reach_the_terminal(fakes: FakeSuite, run: Run, fail: Run, model: str) -> None:
    said = "a\x1b[31mred\x9b2J\u202eright\rover"
    run("push", "digits", model, "--description", said, "--label", f"team={said}")
    fakes.registry.versions["digits", "1"].signature.inputs.add(name=said, datatype="FP32", shape=[1])
    shown = r"a\x1b[31mred\x9b2J\u202eright\rover"
    for command in (("models",), ("show", "digits"), ("show", "digits@1")):
        text = run(*command)
        assert shown in text
        assert not set("\x1b\x9b\u202e\r") & set(text + run(*command, "--json"))
    fakes.registry.failures["GetModel"] = [NotFoundError(said)]
    assert fail("show", "digits") == f"error: {shown.replace(chr(92) + 'r', ' ')}\n"


def test_styled_text_is_made_visible_too(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).show(None, Text.assemble("a\x1b", ("b\x9b", "red")), table("x", rows=[(Text("c\x1b"),)]))
    assert r"a\x1bb\x9b" in (text := capsys.readouterr().out)
    assert r"c\x1b" in text
