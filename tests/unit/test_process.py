import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import uvloop

from modelyard import process
from modelyard.local import kernel
from tests.waiting import wait_until

ENVIRON = dict(os.environ)
CHILD = """
import os, signal, time
from modelyard.process import Parent
parent = Parent(dict(os.environ))
"""
PARENT_OF_TWO = """
import asyncio, os, sys
from modelyard import process

async def main():
    foreign = [sys.executable, "-m", "modelyard.bound", "sleep", "600"]
    ours = [sys.executable, "-c", sys.argv[1]]
    children = [await process.start(command, dict(os.environ), None) for command in (foreign, ours)]
    async for _ in children[1].reports():
        print(*(child.pid for child in children), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", CHILD + text]


async def test_reports_arrive_in_order_and_end_with_the_child() -> None:
    child = await process.start(
        python("parent.report(state='ready', address='a:1'); parent.report(n=2)"), ENVIRON, None
    )
    assert [report async for report in child.reports()] == [{"state": "ready", "address": "a:1"}, {"n": 2}]
    assert await child.wait() == 0
    assert child.returncode == 0


async def test_a_child_is_told_lines() -> None:
    child = await process.start(
        python("import sys; [parent.report(told=line) for line in sys.stdin]"), ENVIRON, None, orders=True
    )
    reports = child.reports()
    for line in ("one", "two"):
        await child.order(line.encode())
        assert await anext(reports) == {"told": f"{line}\n"}
    child.signal(signal.SIGKILL)
    await child.wait()
    await child.order(b"three")  # to nobody
    await child.order(b"four")


async def test_long_lines_of_several_threads_are_not_mixed() -> None:
    text = """
def say(letter):
    for _ in range(20):
        parent.report(said=letter * 100_000)
import threading
import time
threads = [threading.Thread(target=say, args=(letter,)) for letter in "abcd"]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    child = await process.start(python(text), ENVIRON, None)
    said = [report["said"] async for report in child.reports()]
    assert sorted(said) == [letter * 100_000 for letter in "abcd" for _ in range(20)]


async def test_silence_begins_anew_with_each_line() -> None:
    child = await process.start(
        python("parent.report(n=1); time.sleep(0.1); parent.report(n=2); time.sleep(600)"), ENVIRON, None
    )
    lines = child.heard(30, 30)
    await anext(lines)
    since_s = time.monotonic()
    await anext(lines)
    silent_s = child.silent_s
    assert silent_s < time.monotonic() - since_s
    await asyncio.sleep(0.01)
    assert child.silent_s > silent_s
    await child.stop(0)


async def test_a_child_without_orders_has_no_input() -> None:
    child = await process.start(python("import sys; parent.report(read=sys.stdin.read())"), ENVIRON, None)
    assert [report async for report in child.reports()] == [{"read": ""}]


async def test_output_goes_to_the_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        child = await process.start(
            python("import sys; print('out', flush=True); print('err', file=sys.stderr)"), ENVIRON, output
        )
    await child.wait()
    assert (tmp_path / "log").read_text() == "out\nerr\n"


async def test_a_child_keeps_our_variables_out_of_its_own_environment() -> None:
    child = await process.start(
        python("e = dict(os.environ); Parent(e); parent.report(left=[k for k in e if k.startswith('MODELYARD')])"),
        {"PATH": ENVIRON["PATH"]},
        None,
    )
    assert [report async for report in child.reports()] == [{"left": []}]


def test_without_a_parent_a_report_goes_nowhere() -> None:
    process.Parent({}).report(state="ready")


async def test_stop_lets_a_child_end_in_order() -> None:
    child = await process.start(
        python("signal.signal(15, lambda *_: exit(7)); parent.report(state='ready'); time.sleep(600)"), ENVIRON, None
    )
    await anext(child.reports())
    assert await child.stop(30) == 7


async def test_stop_kills_a_child_that_does_not_listen() -> None:
    child = await process.start(
        python("signal.signal(15, signal.SIG_IGN); parent.report(state='ready'); time.sleep(600)"), ENVIRON, None
    )
    await anext(child.reports())
    assert await child.stop(0.1) == -signal.SIGKILL


async def test_only_who_waits_for_a_child_takes_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess.Popen, "poll", lambda _: pytest.fail("somebody else may have taken it"))
    child = await process.start(("sleep", "600"), dict(os.environ), None)
    assert await child.stop(30) == -signal.SIGTERM
    child.signal(signal.SIGTERM)


async def test_a_child_beats_only_while_it_says_that_it_is_alive() -> None:
    text = "parent.start_beating(([False] * 600 + [True] * 2).pop); time.sleep(600)"
    child = await process.start(python(text), ENVIRON, None)
    reports = child.heard(60, 1)
    assert [await anext(reports) for _ in range(2)] == [{"state": "beat"}] * 2
    with pytest.raises(process.SilentError):
        await anext(reports)
    assert await child.stop(30) == -signal.SIGTERM


async def test_a_child_that_beats_is_heard_until_it_is_suspended() -> None:
    child = await process.start(python("parent.start_beating(); time.sleep(600)"), ENVIRON, None)
    reports = child.heard(60, 2)
    assert [await anext(reports) for _ in range(2)] == [{"state": "beat"}] * 2
    child.signal(signal.SIGSTOP)
    with pytest.raises(process.SilentError, match="it was silent for 2 s"):
        [report async for report in reports]
    assert await child.stop(30) == -signal.SIGTERM


async def test_what_is_heard_ends_with_the_child() -> None:
    child = await process.start(python("parent.report(n=1)"), ENVIRON, None)
    assert [report async for report in child.heard(60, 60)] == [{"n": 1}]


async def test_stop_wakes_a_suspended_child() -> None:
    child = await process.start(
        python("signal.signal(15, lambda *_: exit(7)); parent.report(state='ready'); time.sleep(600)"), ENVIRON, None
    )
    await anext(child.reports())
    child.signal(signal.SIGSTOP)
    assert await child.stop(30) == 7


async def test_a_signal_to_a_child_that_has_ended_is_no_error() -> None:
    child = await process.start(python(""), ENVIRON, None)
    await child.wait()
    child.signal(signal.SIGTERM)


async def test_a_program_that_does_not_exist_is_an_error_and_leaks_nothing() -> None:
    open_before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        await process.start(["/no/such/program"], ENVIRON, None)
    await asyncio.sleep(0)
    assert set(os.listdir("/proc/self/fd")) <= open_before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_die_with_a_parent_that_ends_by_a_signal(number: signal.Signals) -> None:
    ours = CHILD + "parent.report(state='ready'); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", PARENT_OF_TWO, ours], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [kernel.find(int(pid)) for pid in parent.stdout.readline().split()]
    assert all(child is not None and child.lives for child in children)
    parent.send_signal(number)
    parent.communicate()
    wait_until(lambda: not any(child is not None and child.lives for child in children))


def test_a_child_whose_parent_is_already_gone_exits() -> None:
    command = [sys.executable, "-c", CHILD + "print('lived')"]
    ended = subprocess.run(command, env={**ENVIRON, process.PARENT: "1"}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")


async def test_a_childs_session_is_its_own_so_that_ctrl_c_reaches_only_us() -> None:
    child = await process.start(python("parent.report(session=os.getsid(0), pid=os.getpid())"), ENVIRON, None)
    (report,) = [report async for report in child.reports()]
    assert report["session"] == report["pid"] == child.pid


def test_descriptors_of_other_threads_are_left_alone(tmp_path: Path) -> None:
    """Nothing of ours is closed twice: the number may be another file's by then, opened in a thread (uvloop #763)."""
    (tmp_path / "file").write_bytes(b"content")
    ended = threading.Event()

    def read_again_and_again() -> int:
        times = 0
        while not ended.is_set():
            assert (tmp_path / "file").read_bytes() == b"content"
            times += 1
        return times

    async def report_once() -> list[dict[str, Any]]:
        child = await process.start(["bash", "-c", 'echo "{}" >&$MODELYARD_REPORT_FD'], ENVIRON, None)
        reports = [report async for report in child.reports()]
        await child.wait()
        return reports

    async def many() -> None:
        readers = [asyncio.create_task(asyncio.to_thread(read_again_and_again)) for _ in range(4)]
        for _ in range(20):
            assert await asyncio.gather(*(report_once() for _ in range(4))) == [[{}]] * 4
        ended.set()
        assert all(await asyncio.gather(*readers))

    uvloop.run(many())


def test_a_report_is_one_line_of_json() -> None:
    read_fd, write_fd = os.pipe()
    process.Parent({process.REPORT: str(write_fd)}).report(message="two\nlines")
    os.close(write_fd)
    with os.fdopen(read_fd) as reports:
        assert [json.loads(line) for line in reports] == [{"message": "two\nlines"}]


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-11, "killed by SIGSEGV"),
        (-9, "killed by SIGKILL"),
        (-63, "killed by signal 63"),
    ],
)
def test_describe_exit(returncode: int, words: str) -> None:
    assert process.describe_exit(returncode) == words


def test_a_service_may_open_as_many_files_as_the_system_lets_it() -> None:
    code = (
        "import resource as r; from modelyard.process import DESCRIPTORS, allow_descriptors; "
        "most = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (64, most)); allow_descriptors(); "
        "most = DESCRIPTORS if most == r.RLIM_INFINITY else min(most, DESCRIPTORS); "
        "assert r.getrlimit(r.RLIMIT_NOFILE)[0] == most > 64"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
