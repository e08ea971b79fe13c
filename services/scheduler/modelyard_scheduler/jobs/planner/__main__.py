"""`python -m modelyard_scheduler.jobs.planner`: plans jobs, one after the other, each told by a line on standard input.

Processes of their own, because what they read may be hostile: a parser that crashes, hangs or takes gigabytes does so
here, and not in the controller. Each job is read by a fork, which begins with all modules loaded, and leaves nothing
behind for the job of somebody else. What is reported to the controller: messages.py.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import sys
import threading
import traceback
from typing import Any, NoReturn

from modelyard import codec
from modelyard.datasets.chunked import open_artifact
from modelyard.datasets.opening import Opening, open_dataset
from modelyard.datasets.remote import open_url, stamp_of
from modelyard.datasets.source import Directory, Source
from modelyard.datasets.text import TextDataset
from modelyard.errors import InvalidInputError, ModelyardError
from modelyard.jobs.found import Found, Stored
from modelyard.jobs.spec import Dataset
from modelyard.process import Parent, die_with
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard_scheduler.jobs.planner.counting import check_fit, count
from modelyard_scheduler.jobs.planner.messages import Broken, Failed, Limits, Planned, Wanted
from modelyard_scheduler.jobs.planner.pulse import Pulse

MOST_MESSAGE_CHARACTERS = 2000


class Planning:
    """One job."""

    def __init__(self, wanted: Wanted, pulse: Pulse) -> None:
        """Begin an event loop for what is asked of the registry."""
        self._wanted = wanted
        self._pulse = pulse
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="registry", daemon=True).start()

    def run(self) -> Planned:
        """Open, bind, count; raise ModelyardError if that cannot be done."""
        inference = self._wanted.inference
        content = self._content(inference.dataset)
        opening = Opening(inference.dataset.kind, inference.dataset.images)
        dataset = open_dataset(self._pulse.watched(content), opening)
        results = check_fit(dataset, inference, self._wanted.signature)
        plan = count(dataset, inference.sharding, self._pulse.move)
        index = self._stored(codec.encode(dataset.index)) if isinstance(dataset, TextDataset) else None
        return Planned(Found(dataset.rows, results, index, stamp_of(content)), plan)

    def _content(self, dataset: Dataset) -> Source | Directory:
        if dataset.artifact is None:
            return open_url(dataset.url, self._wanted.allowed)
        registry = RegistrySource(lambda: self._wanted.registries)
        source = BlockingSource(registry, self._loop, self._wanted.limits.patience_s)
        return open_artifact(source.manifest(dataset.artifact.manifest_digest), dataset.artifact.path, source.fetch)

    def _stored(self, content: bytes) -> Stored:
        storing = Storing(lambda: self._wanted.registries, self._wanted.limits.patience_s)
        store = storing.store(content, len(content), tenant=self._wanted.tenant, upload=self._wanted.job)
        return asyncio.run_coroutine_threadsafe(store, self._loop).result()


def plan(wanted: Wanted, pulse: Pulse) -> dict[str, Any]:
    """What is reported of a job: `planned`, `failed` or `broken`, as JSON."""
    try:
        return {"planned": codec.to_json(Planning(wanted, pulse).run())}
    except ModelyardError as error:
        failed = Failed(type(error).__name__, error.message[:MOST_MESSAGE_CHARACTERS])
    except MemoryError:
        most = wanted.limits.memory_bytes >> 20
        failed = Failed(InvalidInputError.__name__, f"the dataset could not be read: it takes more than {most} MiB")
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = tuple(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in frames)
        return {"broken": codec.to_json(Broken(type(error).__name__, places))}
    return {"failed": codec.to_json(failed)}


def limit(limits: Limits) -> None:
    """Have the system refuse what goes beyond; who computes for too long is killed by SIGXCPU."""
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read(wanted: Wanted, parent: Parent, server_pid: int) -> NoReturn:
    """In the fork: plan a job, report."""
    die_with(server_pid)
    limit(wanted.limits)
    pulse = Pulse()
    parent.start_beating(pulse.beats)
    parent.report(state="begun")
    parent.report(**plan(wanted, pulse))
    sys.stderr.flush()
    os._exit(0)  # connections and threads of libraries are not waited for


def main() -> None:
    """Wait for jobs, have each read by a fork. This process has no threads, which a fork would be without."""
    faulthandler.enable()
    parent = Parent(dict(os.environ))
    parent.report(state="ready")
    server_pid = os.getpid()
    while line := sys.stdin.buffer.readline():
        wanted = codec.decode(Wanted, line)
        pid = os.fork()
        if not pid:
            read(wanted, parent, server_pid)
        _, status = os.waitpid(pid, 0)
        parent.report(state="ended", status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
