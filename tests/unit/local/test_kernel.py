import os
import signal
import subprocess
import sys

import pytest

from modelyard.local import kernel
from modelyard.local.kernel import Process
from tests.waiting import wait_until

FAMILY = """
import subprocess, sys, time
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, *sys.argv[1:]])
print("up", flush=True)
time.sleep(600)
"""


def test_this_process_lives() -> None:
    me = kernel.find(os.getpid())
    assert me is not None
    assert me.lives
    assert not me.suspended


def test_another_of_the_same_pid_does_not() -> None:
    me = kernel.find(os.getpid())
    assert me is not None
    other = Process(me.pid, me.start_ticks - 1)
    assert not other.lives
    other.signal(signal.SIGKILL)  # which reaches nobody


def test_nobody() -> None:
    assert kernel.find(0) is None
    assert kernel.find(1 << 22) is None
    assert kernel.tree(1 << 22) == []
    assert not Process(0, 0).lives


def test_one_that_has_ended_and_was_not_reaped_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    found = kernel.find(child.pid)
    assert found is not None
    wait_until(lambda: not found.lives)
    assert kernel.find(child.pid) is not None
    child.wait()
    assert kernel.find(child.pid) is None


def test_suspended_and_awake() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    found = kernel.find(child.pid)
    assert found is not None
    found.signal(signal.SIGSTOP)
    wait_until(lambda: found.suspended)
    assert found.lives
    found.signal(signal.SIGCONT)
    wait_until(lambda: not found.suspended)
    found.signal(signal.SIGKILL)
    child.wait()


def test_a_tree_has_children_and_grandchildren_parents_first() -> None:
    inner = [sys.executable, "-c", FAMILY, "-c", FAMILY]
    child = subprocess.Popen(inner, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(2)] == ["up\n"] * 2
    family = kernel.tree(child.pid)
    assert family[0].pid == child.pid
    assert len(family) == 2
    assert family[1] in kernel.tree(os.getpid())
    for process in family:
        process.signal(signal.SIGKILL)
    child.communicate()
    wait_until(lambda: not any(process.lives for process in family))


@pytest.mark.parametrize("name", ["a b", ") Z 1 ", "(("])
def test_a_name_with_brackets_confuses_nobody(name: str) -> None:
    text = (
        f"import ctypes, time; ctypes.CDLL(None).prctl(15, {name.encode()!r}); print('up', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    found = kernel.find(child.pid)
    assert found is not None
    assert found.lives
    assert found in kernel.tree(os.getpid())
    child.kill()
    child.communicate()
