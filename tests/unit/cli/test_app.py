from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from modelyard import __version__, errors
from modelyard.cli.app import app, main
from tests.unit.fakes import FakeSuite
from tests.waiting import wait_until

CATALOGUE = {"push", "pull", "cat", "gc", "models", "show", "update", "rm", "undelete", "diff", "watch"}
ALIASES = {"alias", "history", "rollback"}
SERVING = {"deploy", "undeploy", "deployments", "infer", "workers", "logs", "why"}
JOBS = {
    f"jobs {verb}"
    for verb in ["submit", "ls", "show", "watch", "cancel", "pause", "resume", "results", "dead", "retry"]
}
VERBS = CATALOGUE | ALIASES | SERVING | JOBS | {"train"}
Run = Callable[..., str]


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
    assert run_main(capsys, "jobs")[:2] == run_main(capsys, "jobs", "--help")[:2]


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    """Their names, those of groups before those of what is in them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def test_every_command_has_json_and_those_for_a_server_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    here = {"up", "down", "status", "version"}
    assert set(commands(get_command(app))) == here | VERBS
    for name in here | VERBS:
        _, text, _ = run_main(capsys, *name.split(), "--help")
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


def test_with_json_an_error_is_json(fakes: FakeSuite, capsys: pytest.CaptureFixture[str], model: str) -> None:
    def failed(*arguments: str) -> tuple[int, Any]:
        status, out, err = run_main(capsys, *arguments, "--json")
        assert out == ""
        return status, json.loads(err)

    here = ("--address", fakes.address)
    absent = {"error": "NotFoundError", "status": "NOT_FOUND", "message": "model 'absent': not registered"}
    assert failed("show", "absent", *here) == (1, absent)
    status, wrong = failed("nosuch")
    assert (status, wrong["error"], wrong["status"]) == (2, "InvalidInputError", "INVALID_ARGUMENT")
    fakes.registry.failures["SetAlias"] = [errors.PreconditionError("it breaks callers")]
    assert failed("push", "digits", model, "--alias", "prod", *here) == (
        1,
        {
            "error": "PreconditionError",
            "status": "FAILED_PRECONDITION",
            "message": "digits@1 is published, but: it breaks callers",
            "published": "digits@1",
        },
    )
    assert failed("models", "--address", "foo")[1]["message"] == "address: expected host:port, got 'foo'"


def test_what_no_message_can_hold_is_one_line(fail: Run, model: str) -> None:
    for option, value in (("--gpu", "99999999999"), ("--memory", "99999999999TiB"), ("--description", "\udcff")):
        assert ": expected " in fail("push", "digits", model, option, value)
    assert "filter: expected text that UTF-8 can encode" in fail("models", "--filter", "\udcff")
    assert "start_revision: expected an integer" in fail("watch", "--from", "99999999999999999999")
    assert "path: expected a file or a directory, got an empty path" in fail("push", "digits", "")
