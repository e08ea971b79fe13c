"""`python -m tests.integration.train.elastic.nursery`: forks ranks: one for each line, a Plan as JSON.

It answers their pids. torch and what DDP imports take seconds to load: they are loaded once here. All ranks die with
this process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

from modelyard.process import die_with
from modelyard.train.elastic.reduction import preload
from tests.integration.train.elastic import shared
from tests.integration.train.elastic.rank import Plan, main


def serve() -> None:
    """Fork until standard input is closed."""
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    print("ready", flush=True)
    for line in sys.stdin:
        plan = json.loads(line)
        parent = os.getpid()
        if pid := os.fork():
            print(pid, flush=True)
            continue
        _be_rank(parent, Plan(**{**plan, "gates": tuple(plan["gates"]), "shape": tuple(plan["shape"])}))


def _be_rank(parent: int, plan: Plan) -> None:
    die_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        shared.main(plan) if plan.shape else main(plan)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    die_with(os.getppid())
    serve()
