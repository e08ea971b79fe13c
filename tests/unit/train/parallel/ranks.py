"""Ranks: processes in one group of gloo, which run one case after the other and tell what came of it."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.unit.train.parallel.cases"])
ANSWER_S = 120.0
Case = Callable[..., Any]


class Ranks:
    """So many processes, until `close`."""

    def __init__(self, count: int, directory: Path) -> None:
        self._started = []
        for rank in range(count):
            ours, theirs = CONTEXT.Pipe()
            process = CONTEXT.Process(target=_serve, args=(theirs, rank, count, str(directory / "store")), daemon=True)
            process.start()
            theirs.close()
            self._started.append((process, ours))

    def run(self, case: Case, *values: Any) -> list[Any]:
        """Return what each rank has made of a case; fail with the traceback of one that raised."""
        for _, pipe in self._started:
            pipe.send((case, values))
        answers = []
        for process, pipe in self._started:
            assert pipe.poll(ANSWER_S), f"no answer from {process.name}"
            answers.append(pipe.recv())
        failed = [said for failure, said in answers if failure]
        assert not failed, failed[0]
        return [said for _, said in answers]

    def close(self) -> None:
        """End them."""
        for process, pipe in self._started:
            pipe.close()
            process.terminate()
            process.join()


def _serve(pipe: Connection, rank: int, count: int, store: str) -> None:
    import torch  # noqa: PLC0415 (here, in the process that needs it)
    import torch.distributed as dist  # noqa: PLC0415

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    while True:
        try:
            case, values = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((False, case(*values)))
        except Exception:
            pipe.send((True, traceback.format_exc()))
