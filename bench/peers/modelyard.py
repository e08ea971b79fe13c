"""Modelyard: a suite of one front door and one worker, called through the scheduler and straight at the runner."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.peers.served import Model
from bench.peers.target import Target
from modelyard import Client
from modelyard.deployment import InstanceOptions
from modelyard.local.commands import UpOptions, down, status, up

THROUGH = "modelyard"
DIRECT = "modelyard, runner"
DEPLOY_S = 120.0


@contextlib.contextmanager
def modelyard(models: Sequence[Model], scratch: Path) -> Iterator[list[Target]]:
    """Run it on the models. All processes of the suite count, etcd and Redis too."""
    directory = scratch / "state"
    scratch.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        up(UpOptions(directory, port=0, detach=True))
    try:
        suite = status(directory)
        with Client(suite.address) as client:
            runners = {model.name: _serve(client, model, scratch) for model in models}
        through = Target(THROUGH, suite.address, lambda: [suite.pid])
        yield [through, dataclasses.replace(through, name=DIRECT, addresses=runners)]
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            down(directory)


def _serve(client: Client, model: Model, scratch: Path) -> str:
    """Push and deploy; return the runner's address."""
    path = scratch / f"{model.name}.onnx"
    path.write_bytes(model.onnx)
    client.push(model.name, path)
    options = InstanceOptions(threads=model.threads, max_batch_size=model.max_batch_size)
    deployed = client.deploy(model.name, options=options, timeout_s=DEPLOY_S)
    return deployed.instances[0].endpoint
