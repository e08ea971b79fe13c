"""A suite of a checkout's own sources: a script, run by bench.checkouts with that checkout on PYTHONPATH.

`up DIRECTORY MODEL OPTIONS` serves the model as "mlp" and prints {"address", "pid"}; `down DIRECTORY` ends it. OPTIONS
are InstanceOptions as a JSON object; an empty one is not passed on, so that checkouts before them can be measured too.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from modelyard import Client
from modelyard.local.commands import UpOptions, down, status, up


def start(directory: Path, model: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Start, push, deploy."""
    up(UpOptions(directory, port=0, detach=True))
    suite = status(directory)
    more: dict[str, Any] = {}
    if options:
        from modelyard.deployment import InstanceOptions  # noqa: PLC0415 (an old checkout has none)

        more["options"] = InstanceOptions(**options)
    with Client(suite.address) as client:
        client.push("mlp", model)
        client.deploy("mlp", **more)
    return {"address": suite.address, "pid": suite.pid}


def main() -> None:
    """Do as told."""
    verb, directory, *rest = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        found = start(Path(directory), Path(rest[0]), json.loads(rest[1])) if verb == "up" else down(Path(directory))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
