"""Scripts that run, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil
import pytest

from modelyard_worker.trainer.script.process import TAIL_BYTES, ScriptProcess
from tests.waiting import wait_until

SLEEP = "import time; time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w'); "
SLOW_S = 100.0
"""Two interpreters are started, one after the other, which takes long where much else is."""
ENVIRON = {"PATH": os.environ["PATH"]}


@contextmanager
def running(source: str, directory: Path) -> Iterator[ScriptProcess]:
    """A script of one line."""
    process = ScriptProcess((sys.executable, "-u", "-c", source), ENVIRON, directory)
    try:
        yield process
    finally:
        process.end(0.0)


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; its number may be another's by then."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_ends_by_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = "import os, sys; open('here', 'w'); print('said'); print(os.environ['PATH'], file=sys.stderr); sys.exit(3)"
    with running(source, tmp_path) as process:
        wait_until(lambda: process.has_ended)
        assert process.end() == process.end() == 3
    assert (tmp_path / "here").exists()
    assert process.tail == ENVIRON["PATH"] + "\n"
    said = capfd.readouterr()
    assert (said.out, said.err) == ("said\n", process.tail)


def test_of_what_it_prints_the_end_is_kept(tmp_path: Path) -> None:
    with running(f"import sys; sys.stderr.write('a' * {3 * TAIL_BYTES} + 'end')", tmp_path) as process:
        wait_until(lambda: process.has_ended)
        assert process.end() == 0
    assert process.tail == "a" * (TAIL_BYTES - 3) + "end"


def test_it_is_asked_to_end(tmp_path: Path) -> None:
    source = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); open('on', 'w'); signal.pause()"
    )
    with running(source, tmp_path) as process:
        wait_until((tmp_path / "on").exists)
        assert not process.has_ended
        assert process.end(60.0) == 7


def test_who_does_not_end_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    source = DEAF + f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    with running(source, tmp_path) as process:
        started = wait_until(lambda: psutil.Process(process.pid).children())
        assert process.end(0.0) == -signal.SIGKILL
        wait_until(lambda: is_gone(started[0]))


def test_what_it_leaves_running_is_ended_too(tmp_path: Path) -> None:
    start = f"pid = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid"
    source = f"import os, subprocess, sys; {start}; open('new', 'w').write(str(pid)); os.replace('new', 'left')"
    with running(source, tmp_path) as process:
        wait_until((tmp_path / "left").exists)
        left = psutil.Process(int((tmp_path / "left").read_text()))
        wait_until(lambda: process.has_ended)
        assert process.end() == 0
        wait_until(lambda: is_gone(left))


def test_what_has_left_its_session_is_ended_too(tmp_path: Path) -> None:
    start = f"pid = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True).pid"
    source = f"import os, subprocess, sys; {start}; open('new', 'w').write(str(pid)); os.replace('new', 'left')"
    with running(source, tmp_path) as process, running(SLEEP, tmp_path) as another:
        wait_until((tmp_path / "left").exists)
        left = psutil.Process(int((tmp_path / "left").read_text()))
        wait_until(lambda: process.has_ended)
        assert process.end() == 0
        wait_until(lambda: is_gone(left))
        assert not another.has_ended


def test_it_says_where_it_is_if_it_can(tmp_path: Path) -> None:
    source = (
        "import sys, time\ndef waits():\n open('on', 'w'); time.sleep(600)\nprint('said', file=sys.stderr); waits()"
    )
    able = "import faulthandler; faulthandler.enable(); "
    with running(able + source, tmp_path) as process:
        wait_until(lambda: process.tail == "said\n" and (tmp_path / "on").exists())
        os.kill(process.pid, signal.SIGSTOP)
        stack = process.abort()
        assert process.end() == -signal.SIGABRT
    assert "in waits" in stack
    assert "said" not in stack
    (tmp_path / "on").unlink()
    with running(source, tmp_path) as process:
        wait_until((tmp_path / "on").exists)
        assert (process.abort(), process.end()) == ("", -signal.SIGTERM)


def test_what_it_does_is_counted(tmp_path: Path) -> None:
    source = f"print('12'); import sys; sys.stderr.write('345'); [i * i for i in range(10**6)]; {SLEEP}"
    with running(source, tmp_path) as process:
        wait_until(lambda: process.printed_bytes == 6 and process.cpu_s > 0)
        process.end(0.0)
        assert process.cpu_s == 0


def test_it_is_waited_for_no_longer_than_it_may_take_to_end(tmp_path: Path) -> None:
    with running(DEAF + SLEEP, tmp_path) as process:
        wait_until((tmp_path / "deaf").exists)
        process.wait(0.0)
        assert not process.has_ended
        ending = Thread(target=process.end, args=(0.0,))
        ending.start()
        process.wait(60.0)
        assert process.has_ended
        ending.join()


@pytest.mark.timeout(240)
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    parent = f"""
import sys, time
from pathlib import Path
from modelyard_worker.trainer.script.process import ScriptProcess
process = ScriptProcess((sys.executable, "-c", {DEAF + SLEEP!r}), {{}}, Path({str(tmp_path)!r}))
print(process.pid, flush=True)
time.sleep(600)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environ) as started:
        assert started.stdout
        script = psutil.Process(int(started.stdout.readline()))
        wait_until((tmp_path / "deaf").exists, SLOW_S)
        started.kill()
    wait_until(lambda: is_gone(script), SLOW_S)


def test_who_has_ended_is_not_asked_where_it_was_nor_is_who_has_its_number_by_now(tmp_path: Path) -> None:
    source = (
        "import signal\n"
        "for number in (signal.SIGABRT, signal.SIGUSR1):\n"
        "    signal.signal(number, lambda number, _: open(f'{number}', 'w'))\n"
        "open('on', 'w')\n"
        "while True:\n"
        "    signal.pause()"
    )
    with running("", tmp_path) as process, running(source, tmp_path) as other:
        wait_until((tmp_path / "on").exists)
        wait_until(lambda: process.has_ended)
        assert process.end() == 0
        process.pid = other.pid
        assert process.abort() == ""
        os.kill(other.pid, signal.SIGUSR1)  # of two signals the lower number is heard first
        wait_until((tmp_path / f"{signal.SIGUSR1:d}").exists)
        assert not (tmp_path / f"{signal.SIGABRT:d}").exists()
