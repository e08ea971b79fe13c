"""A process of training that trains nothing: it writes down what it is told, and ends as it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from modelyard import codec
from modelyard.process import Parent
from modelyard_worker.training.orders import Order


def main() -> None:
    """Say `ready` once the first order is there, then follow orders to the end of standard input."""
    parent = Parent(dict(os.environ))
    parent.start_beating()
    said = Path(sys.argv[1])
    for line in sys.stdin.buffer:
        order = codec.decode(Order, line)
        with (said / str(os.getpid())).open("ab") as file:
            file.write(line)
        if order.begin is not None:
            if order.begin.charter.spec.seed == 13:
                sys.exit("an unlucky number")
            parent.report(state="ready")
            _do(dict(order.begin.charter.spec.code.parameters).get("then", ""), parent, said)


def _do(what: str, parent: Parent, said: Path) -> None:
    """What users' code may do."""
    match what:
        case "end":
            os._exit(0)
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "find nothing":
            parent.report(state="failed", reason="no registry answers")
            os._exit(75)
        case "fork":
            if not os.fork():
                time.sleep(600)
            (said.parent / "forked").touch()
        case "start a session":
            started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            (said.parent / "started.new").write_text(str(started.pid))
            (said.parent / "started.new").rename(said.parent / "started")


if __name__ == "__main__":
    main()
