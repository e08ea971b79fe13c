"""`up --detach`: the suite in a session of its own, and the wait for its ready line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from modelyard.errors import UnavailableError, from_status
from modelyard.local.plan import UpOptions
from modelyard.local.state import Layout
from modelyard.process import REPORT, describe_exit


def start(options: UpOptions) -> str:
    """Start the suite and return its ready line.

    Raises:
        ModelyardError: as `up` does.
    """
    layout = Layout(options.directory)
    layout.create()
    child, report = _start_and_wait(options, layout)
    if report.get("state") == "ready":
        child.returncode = 0  # it goes on without us
        return str(report["line"])
    ended = describe_exit(child.wait())
    if report:
        raise from_status(report["status"], report["error"], report["message"])
    raise UnavailableError(f"`up` ended before it was ready: {ended}; see {layout.log('up')}")


def _start_and_wait(options: UpOptions, layout: Layout) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd) as reports, layout.log("up").open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "modelyard.local", "up", *_flags(options)],
            env={**os.environ, REPORT: str(write_fd)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[write_fd],
            start_new_session=True,
        )
        os.close(write_fd)
        try:
            return child, json.loads(reports.readline() or "{}")
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            raise


def _flags(options: UpOptions) -> list[str]:
    asked = options.asked
    flags = {
        "dir": options.directory,
        "workers": options.workers,
        "port": options.port,
        "capacity": options.capacity,
        "processes": options.processes,
        "lease-s": options.lease_s,
        "store": asked.store,
        "grace-s": asked.grace_s,
        "collect-every-s": asked.collect_every_s,
        "dataset-urls": asked.dataset_urls,
    }
    unsafe = {None: [], True: ["--allow-unsafe"], False: ["--no-allow-unsafe"]}[asked.allow_unsafe]
    code = [] if options.allow_code else ["--no-allow-code"]
    return [*(f"--{name}={value}" for name, value in flags.items() if value is not None), *unsafe, *code]
