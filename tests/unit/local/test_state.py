import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.errors import PreconditionError
from modelyard.local import health
from modelyard.local.kernel import find
from modelyard.local.ports import Port
from modelyard.local.state import Layout, Lock, ProcessStatus, State, Status

HOLD = """
import sys
from dataclasses import replace
from pathlib import Path
from modelyard.local.state import Layout, Lock
lock = Lock(Layout(Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "suite")
    made.create()
    return made


def hold(layout: Layout) -> subprocess.Popen[str]:
    """Another process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(layout.root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def status(layout: Layout, pid: int, *processes: ProcessStatus) -> Status:
    return Status(running=True, directory=str(layout.root), pid=pid, address="127.0.0.1:1", processes=processes)


def this(**facts: object) -> ProcessStatus:
    """This process, as if it were one of a suite."""
    me = find(os.getpid())
    assert me is not None
    known = ProcessStatus("registry-0", me.pid, state=State.READY, start_ticks=me.start_ticks)
    return replace(known, **facts)  # type: ignore[arg-type]


def test_what_is_written_is_read(layout: Layout) -> None:
    assert layout.read() == Status(running=False, directory=str(layout.root))
    written = status(layout, 7, ProcessStatus("etcd", 8, "127.0.0.1:2", State.RESTARTING, 3, "why", 9))
    layout.write(written)
    assert layout.read() == written
    assert layout.read().process("etcd").restarts == 3
    assert [path.name for path in layout.state.parent.iterdir()] == ["state.json"]
    layout.forget()
    layout.forget()
    assert layout.read().processes == ()


def test_a_state_that_was_cut_off_by_a_crash_is_none(layout: Layout) -> None:
    layout.state.write_bytes(b"")
    assert not layout.read().running


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "suite").write_text("")
    with pytest.raises(PreconditionError, match=r"cannot keep state in .*suite"):
        Layout(tmp_path / "suite").create()


def test_the_lock_has_one_holder_who_is_known(layout: Layout) -> None:
    assert layout.holder() == 0
    other = hold(layout)
    layout.write(status(layout, other.pid))
    assert layout.holder() == other.pid
    with pytest.raises(PreconditionError) as refused:
        Lock(layout)
    assert f"pid {other.pid}, 127.0.0.1:1" in refused.value.message
    other.communicate()
    assert layout.holder() == 0
    lock = Lock(layout)
    assert layout.holder() == os.getpid()
    lock.release()
    assert layout.holder() == 0


def test_a_holder_without_a_state_is_starting(layout: Layout) -> None:
    other = hold(layout)
    with pytest.raises(PreconditionError, match=f"pid {other.pid}, starting"):
        Lock(layout)
    other.communicate()


def test_a_killed_holder_leaves_the_lock(layout: Layout) -> None:
    other = hold(layout)
    other.kill()
    other.communicate()
    assert layout.holder() == 0
    Lock(layout).release()


async def test_a_ready_process_that_does_not_answer_is_unresponsive() -> None:
    port = Port()
    for name in ("etcd", "redis", "registry-0"):
        found = await health.examine(this(name=name, address=port.address))
        assert found.state is State.UNRESPONSIVE
        assert port.address in found.reason
    port.release()


async def test_a_process_that_is_gone_is_dead() -> None:
    found = await health.examine(this(start_ticks=1))
    assert (found.state, found.reason) == (State.DEAD, "the process is gone")


@pytest.mark.parametrize("state", [State.STARTING, State.RESTARTING, State.STOPPING])
async def test_a_process_that_is_not_said_to_be_ready_is_not_asked(state: State) -> None:
    process = this(state=state, start_ticks=1)
    assert await health.examine(process) == process


async def test_without_a_holder_everything_is_dead(layout: Layout) -> None:
    layout.write(status(layout, 7, this()))
    found = await health.inspect(layout)
    assert (found.running, found.pid) == (False, 0)
    assert [(p.state, p.reason) for p in found.processes] == [(State.DEAD, "`up` is gone")]


async def test_a_state_of_an_earlier_holder_is_not_taken_for_that_of_this_one(layout: Layout) -> None:
    other = hold(layout)
    layout.write(status(layout, 7, this()))
    assert await health.inspect(layout) == Status(running=True, directory=str(layout.root), pid=other.pid)
    other.communicate()
