"""One placement made real, with real runners: what is announced, what is restarted, and that nothing is left over."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from modelyard import process
from modelyard.backoff import Backoff
from modelyard.catalogue import Manifest, Resources, TensorSpec
from modelyard.chunks import Chunk
from modelyard.deployment import Instance, InstanceOptions, InstanceState, Placement
from modelyard.errors import InvalidInputError, UnavailableError
from modelyard_worker import instance as instances
from modelyard_worker import runner_process as processes
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.instance import InstanceKeeper
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.runner_process import RunnerSettings
from modelyard_worker.runners import Runners, Seat
from tests import models
from tests.integration.serving.traffic import own_runners
from tests.waiting import eventually

LOADING, READY, FAILED, UNLOADING = InstanceState
IDLE = "import time; time.sleep(600)"


class NoSource:
    """A registry that nobody can reach; `go` lets a pull fail."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def manifest(self, digest: str) -> Manifest:
        self.asked.set()
        await self.go.wait()
        raise UnavailableError("no registry is live")

    async def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        raise UnavailableError("no registry is live")
        yield b""


class Kept:
    """A keeper that runs, and what it announced."""

    def __init__(self, directory: Path, source: NoSource) -> None:
        placement = Placement("m", "1", "w0", "d" * 64, "onnx", Resources(), 1)
        runners = Runners(RunnerSettings("127.0.0.1", "127.0.0.1", 1, RunnerLogs(directory / "logs"), os.environ))
        self.said: list[Instance] = []
        self.refuse: type[Exception] | None = None
        self.admitted: list[Seat] = []
        self.left: list[int] = []
        """How many runners lived when tasks of jobs were not to be executed any more."""
        self.has_worked = False
        self.has_lost = False
        """Whether runners die of tasks of jobs."""
        cache = ArtifactCache(directory / "artifacts", source)
        self.keeper = InstanceKeeper(placement, cache, runners.seat, self._announce, self._admit)
        self.task = asyncio.ensure_future(self.keeper.run())

    async def _announce(self, instance: Instance) -> None:
        self.said.append(instance)
        if self.refuse is not None and instance.state is READY:
            raise self.refuse("refused")

    def _admit(self, instance: Instance, seat: Seat) -> Kept:
        assert instance.state is READY
        self.admitted.append(seat)
        return self

    def leave(self) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        self.left.append(len(own_runners()))

    @property
    def states(self) -> list[InstanceState]:
        return [i.state for i in self.said]

    async def says(self, state: InstanceState, count: int = 1) -> Instance:
        """Wait until a state has been announced so often."""
        await eventually(lambda: self.states.count(state) >= count or self.task.done(), 60)
        return [i for i in self.said if i.state is state][count - 1]

    async def unload(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.keeper.unload()


@pytest.fixture
def source() -> NoSource:
    return NoSource()


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[onnx.ModelProto], None]:
    """Have a model in the cache."""

    def put(model: onnx.ModelProto) -> None:
        place = tmp_path / "artifacts" / ("d" * 64)
        place.mkdir(parents=True)
        models.save(model, place / "model.onnx")

    return put


@pytest.fixture
async def kept(tmp_path: Path, source: NoSource) -> AsyncIterator[Callable[[], Kept]]:
    """Start keepers; they are unloaded afterwards, and leave no process."""
    started: list[Kept] = []

    def start() -> Kept:
        started.append(Kept(tmp_path, source))
        return started[-1]

    yield start
    for one in started:
        await one.unload()
    assert own_runners() == []


def instead(monkeypatch: pytest.MonkeyPatch, *programs: str) -> list[process.Child]:
    """Have these Python programs run in the place of the first runners; return the processes as they are started."""
    started: list[process.Child] = []
    start = process.start

    async def replaced(command: list[str], *rest: Any) -> process.Child:
        if len(started) < len(programs):
            text = "import os\nfrom modelyard.process import Parent\nparent = Parent(dict(os.environ))\n"
            command = [sys.executable, "-c", text + programs[len(started)], "modelyard_worker.runner"]
        started.append(await start(command, *rest))
        return started[-1]

    monkeypatch.setattr(process, "start", replaced)
    return started


async def test_from_loading_to_ready_to_gone(stored: Callable[..., None], kept: Callable[[], Kept]) -> None:
    stored(models.mlp((4, 2)))
    one = kept()
    ready = await one.says(READY)
    assert one.states == [LOADING, READY]
    assert (ready.model, ready.version, ready.worker, ready.platform) == ("m", "1", "w0", "onnxruntime_onnx")
    assert (ready.options, ready.failures) == (InstanceOptions(), 0)
    assert 10 << 20 < ready.memory_bytes < 1 << 30
    assert ready.signature.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert ready.endpoint.startswith("127.0.0.1:")
    assert len(own_runners()) == 1
    await one.unload()
    assert one.states == [LOADING, READY, UNLOADING]
    assert own_runners() == []


async def test_a_runner_that_dies_is_replaced(stored: Callable[..., None], kept: Callable[[], Kept]) -> None:
    stored(models.mlp((4, 2)))
    one = kept()
    first = await one.says(READY)
    own_runners()[0].signal(signal.SIGKILL)
    second = await one.says(READY, 2)
    assert second.endpoint != first.endpoint
    reason = "the runner ended: killed by SIGKILL; loading anew"
    assert one.said[2] == Instance("m", "1", "w0", LOADING, reason, failures=1)
    assert second.failures == 1


async def test_tasks_of_jobs_come_while_it_is_ready(stored: Callable[..., None], kept: Callable[[], Kept]) -> None:
    stored(models.mlp((4, 2)))
    one = kept()
    await eventually(lambda: len(one.admitted) == 1)
    first = one.admitted[0]
    assert first.silent_s < processes.SILENCE_S
    await first.kill()
    await one.says(READY, 2)
    assert first.silent_s == math.inf
    await eventually(lambda: len(one.admitted) == 2)
    assert len(one.left) == 1
    await one.unload()
    assert one.left[1:] == [1]


@pytest.mark.parametrize(("has_worked", "failures"), [(True, [0, 0, 0]), (False, [0, 1, 2])])
async def test_what_dies_of_tasks_has_not_failed_unless_it_always_does(
    has_worked: bool,
    failures: list[int],
    stored: Callable[..., None],
    kept: Callable[[], Kept],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instances, "MOST_DEATHS", 1)
    stored(models.mlp((4, 2)))
    one = kept()
    one.has_worked, one.has_lost = has_worked, True
    for deaths in (1, 2, 3):
        await eventually(lambda deaths=deaths: len(one.admitted) == deaths)  # type: ignore[misc]
        await one.admitted[-1].kill()
        lost = await one.says(LOADING, deaths + 1)
        assert lost.reason == "the runner ended: killed by SIGKILL; loading anew"
    assert [i.failures for i in one.said if i.reason] == failures


async def test_after_a_long_life_failures_are_counted_anew(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(models.mlp((4, 2)))
    instead(monkeypatch, "exit(3)")
    one = kept()
    for count, life_s in ((1, 3600.0), (2, 0.0), (3, 3600.0)):
        monkeypatch.setattr(instances, "LONG_LIFE_S", life_s)
        await one.says(READY, count)
        await eventually(lambda: one.keeper._ready_s < math.inf)
        (runner,) = own_runners()
        runner.signal(signal.SIGKILL)
        await one.says(LOADING, count + 1)
    await one.says(READY, 4)
    assert [i.failures for i in one.said if i.reason] == [1, 2, 1, 2]


async def test_a_runner_that_is_suspended_is_replaced(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SILENCE_S", 2.5)
    stored(models.mlp((4, 2)))
    one = kept()
    await one.says(READY)
    (runner,) = own_runners()
    runner.signal(signal.SIGSTOP)
    assert (
        await one.says(LOADING, 2)
    ).reason == "the runner ended: it was silent for 2.5 s and was killed; loading anew"
    await one.says(READY, 2)
    assert not runner.lives


async def test_a_pause_of_the_agent_is_not_the_runners_silence(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SILENCE_S", 2.0)
    stored(models.mlp((4, 2)))
    one = kept()
    await one.says(READY)
    (runner,) = own_runners()
    for _ in range(2):
        time.sleep(2.5)  # noqa: ASYNC251 (blocks this process, as a suspended machine would)
        await asyncio.sleep(0.1)
    assert one.states == [LOADING, READY]
    assert runner.lives


async def test_what_kills_the_runner_at_load_fails_with_how_it_ended(
    stored: Callable[..., None], kept: Callable[[], Kept]
) -> None:
    stored(models.crash_at_load())
    one = kept()
    failed = await one.says(FAILED, 2)
    assert failed.reason == "the runner ended while it loaded the model: killed by SIGFPE; loading anew"
    assert failed.failures == 2
    assert READY not in one.states


async def test_what_cannot_be_loaded_fails_with_the_engines_words(
    stored: Callable[..., None], kept: Callable[[], Kept]
) -> None:
    stored(models.unimplemented())
    failed = await kept().says(FAILED)
    assert failed.reason.startswith("load failed: NotImplemented: ")
    assert "ImageDecoder" in failed.reason


async def test_a_reason_of_any_length_is_cut(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "MAX_REASON", 20)
    stored(models.unimplemented())
    assert (await kept().says(FAILED)).reason == "load failed: NotImplemented"[:20]


async def test_a_runner_that_never_reports_is_given_up(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 1.0)
    stored(models.mlp((4, 2)))
    started = instead(monkeypatch, IDLE)
    one = kept()
    assert (await one.says(FAILED)).reason == (
        "the runner did not start: it was silent for 1 s and was killed; loading anew"
    )
    assert started[0].returncode == -signal.SIGKILL
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 60)
    await one.says(READY)


async def test_a_runner_that_does_not_answer_is_killed(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SILENCE_S", 2.0)
    stored(models.mlp((4, 2)))
    beats = "import time\nwhile True: parent.report(state='beat'); time.sleep(0.1)"
    started = instead(monkeypatch, "parent.report(state='ready', address='127.0.0.1:1')\n" + beats)
    one = kept()
    assert (
        "the runner was killed while it loaded the model, because it did not answer: "
        in (await one.says(FAILED)).reason
    )
    assert started[0].returncode == -signal.SIGKILL
    await one.says(READY)


@pytest.mark.parametrize("report", ["", "parent.report(state='ready', address='127.0.0.1:1');"])
async def test_a_runner_that_only_closes_its_pipe_is_ended(
    report: str, stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SILENCE_S", 2.0)
    stored(models.mlp((4, 2)))
    started = instead(monkeypatch, f"{report}os.close(parent._report_fd); {IDLE}")
    one = kept()
    await eventually(lambda: any("was killed" in i.reason for i in one.said))
    assert started[0].returncode == -signal.SIGKILL
    await one.says(READY)


async def test_a_report_that_is_none_fails_the_instance_and_not_the_worker(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(models.mlp((4, 2)))
    instead(monkeypatch, "os.write(parent._report_fd, b'no json\\n'); " + IDLE)
    one = kept()
    assert (await one.says(FAILED)).reason == "internal error: JSONDecodeError; the worker's log has its stack"
    await one.says(READY)


async def test_what_cannot_be_announced_does_not_leave_its_runner(
    stored: Callable[..., None], kept: Callable[[], Kept]
) -> None:
    stored(models.mlp((4, 2)))
    one = kept()
    one.refuse = InvalidInputError
    await one.says(FAILED)
    assert own_runners() == []
    one.refuse = None
    await one.says(READY, 2)


async def test_restarts_are_spaced_by_a_back_off(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    draw = Backoff.next

    def noted(self: Backoff) -> float:
        drawn.append(draw(self))
        return 0.0

    monkeypatch.setattr(Backoff, "next", noted)
    stored(models.mlp((4, 2)))
    instead(monkeypatch, *["exit(3)"] * 7)
    one = kept()
    await one.says(READY)
    assert one.states == [LOADING, *[FAILED] * 7, READY]
    assert {i.reason for i in one.said if i.reason} == {"the runner did not start: exit status 3; loading anew"}
    assert [d <= 0.25 * 2**i for i, d in enumerate(drawn)] == [True] * 7
    assert drawn[6] >= 4


async def test_while_no_registry_answers_it_is_loading(kept: Callable[[], Kept], source: NoSource) -> None:
    source.go.set()
    one = kept()
    assert (await one.says(LOADING, 2)).reason == "no registry is live"


async def test_unload_while_it_is_pulled(kept: Callable[[], Kept], source: NoSource, tmp_path: Path) -> None:
    one = kept()
    await asyncio.wait_for(source.asked.wait(), 30)
    await one.unload()
    assert one.states == [LOADING, UNLOADING]
    assert not (tmp_path / "artifacts").exists()


async def test_unload_while_the_runner_loads(
    stored: Callable[..., None], kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(models.mlp((4, 2)))
    started = instead(monkeypatch, IDLE)
    one = kept()
    await eventually(lambda: started)
    await one.unload()
    assert one.states == [LOADING, UNLOADING]
    assert started[0].returncode == -signal.SIGKILL  # it has nothing to finish


async def test_unload_at_any_moment_of_the_start_leaves_no_runner(
    stored: Callable[..., None], kept: Callable[[], Kept]
) -> None:
    stored(models.mlp((4, 2)))
    for steps in range(30):
        one = kept()
        for _ in range(steps):
            await asyncio.sleep(0)
        await one.unload()
        assert one.states[-1] is UNLOADING
        assert own_runners() == []
