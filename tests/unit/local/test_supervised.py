import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.local import supervised
from modelyard.local.state import ProcessStatus, State
from modelyard.local.supervised import Program, Supervised
from tests.waiting import eventually

SERVICE = """
import os, signal, time
from modelyard.process import Parent
signal.signal(signal.SIGTERM, lambda *_: exit(0))
Parent(dict(os.environ)).report(state="ready", address="127.0.0.1:5")
time.sleep(600)
"""


class Watched:
    """A supervised program and every status that it had."""

    def __init__(self, program: Program) -> None:
        self.history: list[ProcessStatus] = []
        self.process = Supervised(program, os.environ, self._note)

    def _note(self) -> None:
        self.history.append(self.process.status)

    @property
    def status(self) -> ProcessStatus:
        return self.process.status

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Watched"]:
        task = asyncio.create_task(self.process.run())
        try:
            yield self
        finally:
            self.process.stop()
            await asyncio.wait_for(task, 30)


def program(tmp_path: Path, text: str, **facts: object) -> Program:
    return Program("p-0", [sys.executable, "-c", text], tmp_path / "p-0.log", **facts)  # type: ignore[arg-type]


async def test_a_service_is_ready_when_it_says_so_at_the_address_it_says(tmp_path: Path) -> None:
    async with Watched(program(tmp_path, SERVICE)).running() as one:
        await eventually(lambda: one.status.state is State.READY)
        assert (one.status.address, one.status.restarts, one.status.reason) == ("127.0.0.1:5", 0, "")
        assert one.status.process.lives
    assert [status.state for status in one.history] == [State.STARTING, State.READY, State.STOPPING]
    assert not one.status.process.lives


async def test_a_foreign_program_is_ready_when_it_answers(tmp_path: Path) -> None:
    answered = asyncio.Event()

    async def answers() -> None:
        await answered.wait()

    foreign = program(tmp_path, "import time; time.sleep(600)", address="127.0.0.1:6", answers=answers)
    async with Watched(foreign).running() as one:
        await eventually(lambda: one.history)
        assert {status.state for status in one.history} == {State.STARTING}
        answered.set()
        await eventually(lambda: one.status.state is State.READY)
        assert one.status.address == "127.0.0.1:6"


async def test_one_that_dies_is_started_again_and_says_why(tmp_path: Path) -> None:
    async with Watched(program(tmp_path, SERVICE)).running() as one:
        await eventually(lambda: one.status.state is State.READY)
        first = one.status.pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: one.status.state is State.READY and one.status.pid != first)
        assert (one.status.restarts, one.status.reason) == (1, "killed by SIGKILL")
        assert one.process.failed_starts == 0
    assert State.RESTARTING in {status.state for status in one.history}


async def test_an_exit_status_comes_with_the_last_words(tmp_path: Path) -> None:
    talker = program(tmp_path, "print('first\\n' * 1000 + 'no such thing: x\\n\\n'); exit(3)")
    async with Watched(talker).running() as one:
        await eventually(lambda: one.process.failed_starts >= 2)
        assert one.status.reason == "exit status 3: no such thing: x"
        assert one.status.restarts >= 2


async def test_silence_and_success_are_reasons_too(tmp_path: Path) -> None:
    async with Watched(program(tmp_path, "exit(3)")).running() as one:
        await eventually(lambda: one.status.restarts)
        assert one.status.reason == "exit status 3"
    async with Watched(program(tmp_path, "print('done')")).running() as one:
        await eventually(lambda: one.status.restarts)
        assert one.status.reason == "exit status 0"


async def test_delays_grow_and_begin_anew_after_a_steady_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []

    async def note(_: Supervised, delay_s: float) -> None:
        delays.append(delay_s)
        await asyncio.sleep(0)

    monkeypatch.setattr(Supervised, "_pause", note)
    async with Watched(program(tmp_path, "exit(1)")).running():
        await eventually(lambda: len(delays) >= 4)
    assert delays[0] <= 0.2 < delays[3]
    delays.clear()
    monkeypatch.setattr(supervised, "STEADY_S", 0.0)
    async with Watched(program(tmp_path, "exit(1)")).running():
        await eventually(lambda: len(delays) >= 4)
    assert max(delays) <= 0.2


async def test_one_that_does_not_listen_is_killed_after_its_grace(tmp_path: Path) -> None:
    deaf = SERVICE.replace("lambda *_: exit(0)", "signal.SIG_IGN")
    async with Watched(program(tmp_path, deaf, grace_s=0.1)).running() as one:
        await eventually(lambda: one.status.state is State.READY)
    assert not one.status.process.lives


async def test_stop_during_the_delay_returns_at_once(tmp_path: Path) -> None:
    async with Watched(program(tmp_path, "exit(1)")).running() as one:
        await eventually(lambda: one.status.state is State.RESTARTING)
    assert one.status.state in {State.RESTARTING, State.STARTING, State.STOPPING}


async def test_wake_lets_a_suspended_one_go_on(tmp_path: Path) -> None:
    async with Watched(program(tmp_path, SERVICE)).running() as one:
        one.process.wake()  # nothing yet to wake
        await eventually(lambda: one.status.state is State.READY)
        os.kill(one.status.pid, signal.SIGSTOP)
        await eventually(lambda: one.status.process.suspended)
        one.process.wake()
        await eventually(lambda: not one.status.process.suspended)


async def test_lives_follow_each_other_in_one_log(tmp_path: Path) -> None:
    async with Watched(program(tmp_path, "print('once', flush=True); exit(1)")).running() as one:
        await eventually(lambda: one.status.restarts >= 2)
    assert (tmp_path / "p-0.log").read_text().count("once\n") >= 2
