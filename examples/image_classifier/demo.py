"""Register an image classifier with what it needs, find it by conditions, load it where it fits, call it, unload it.

What `make example-image_classifier` runs: a suite with a worker of 8 cores and 32 GiB, as announced, and beside it one
that is too small. The model is a small network with weights set by hand: see network.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from examples.image_classifier.network import LABELS, SIZE, images, save
from examples.suite import conclude, console, modelyard
from modelyard.aio import Client
from modelyard.catalogue import Resources
from modelyard.errors import PreconditionError, UnavailableError

MODEL = "image_classifier"
NEEDS = Resources(cpu=4, memory_bytes=16 << 30)
LARGE, SMALL = "worker-0", "worker-small"
CONDITIONS = (
    f'labels.task = image-classification takes("FP32[1,3,{SIZE},{SIZE}]") returns("BYTES[1]") '
    "resources.cpu >= 4 fits(cpu=8, memory=32GiB)"
)
JOIN_S = 60.0
"""How long the small worker may take to join."""


@contextlib.contextmanager
def small_worker(etcd: str, directory: Path) -> Iterator[None]:
    """A second worker for the suite, of 2 cores and 4 GiB, as long as this context."""
    settings = {"id": SMALL, "etcd": etcd, "port": 0, "metrics-port": 0, "data-dir": directory / SMALL}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "modelyard_worker", *flags, "--capacity=cpu=2,memory=4GiB", "--drain-s=0"]
    with (directory / f"{SMALL}.log").open("w") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


async def tour(client: Client, directory: Path) -> list[str]:
    """Register, discover, load, call and unload; return what went wrong."""
    await _both_workers(client)
    pushed = await client.push(
        f"{MODEL}@1.0",
        save(directory / MODEL),
        description="colours and stripes, 3x224x224 pixels in, label out",
        labels={"task": "image-classification"},
        resources=NEEDS,
    )
    console.print(f"[bold]registered[/] {MODEL}@{pushed.version}: cpu {NEEDS.cpu:g}, memory 16 GiB")
    found = [f"{model.name}@{version.version}" for model, version in await client.search(CONDITIONS)]
    console.print(f"[bold]discovered[/] {', '.join(found) or 'nothing'} by {CONDITIONS}", markup=True)
    deployed = await client.deploy(MODEL, "1.0")
    places = [instance.worker for instance in deployed.instances]
    console.print(f"[bold]loaded[/] on {', '.join(places)}; {SMALL} is too small")
    problems = [f"found {found} by the conditions"] * (found != [f"{MODEL}@1.0"])
    problems += [f"placed on {places}"] * (places != [LARGE])
    problems += await _call(client)
    return problems + await _unload(client)


async def _both_workers(client: Client) -> None:
    """Wait until the small worker could be chosen, so that it is passed over and not merely absent."""
    async with asyncio.timeout(JOIN_S):
        while {worker.id for worker in await client.workers()} != {LARGE, SMALL}:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _call(client: Client) -> list[str]:
    answers = await client.infer(MODEL, {"x": images()})
    labels = [text.decode() for text in answers["label"]]
    for expected, label, scores in zip(LABELS, labels, answers["scores"], strict=True):
        console.print(f"  an image of {expected}: [bold]{label}[/] ({scores.max():.1%})")
    return [f"labelled {labels}"] * (labels != list(LABELS))


async def _unload(client: Client) -> list[str]:
    await client.undeploy(MODEL, "1.0")
    try:
        await client.infer(MODEL, {"x": images()[:1]}, timeout_s=5)
    except (PreconditionError, UnavailableError) as error:
        console.print(f"[bold]unloaded[/]: {error.message}")
        return []
    return ["it answered after it was unloaded"]


async def serve(address: str, directory: Path) -> list[str]:
    """The tour, on the suite at that address."""
    async with Client(address) as client:
        return await tour(client, directory)


def main() -> int:
    """Run the example; the exit status says whether all of it went well."""
    with tempfile.TemporaryDirectory() as scratch:
        directory, state = Path(scratch), str(Path(scratch) / "state")
        console.print(modelyard("up", "--port", "0", "--dir", state, "--capacity", "cpu=8,memory=32GiB", "--detach"))
        try:
            status = json.loads(modelyard("status", "--dir", state, "--json"))
            (etcd,) = (process["address"] for process in status["processes"] if process["name"] == "etcd")
            with small_worker(etcd, directory):
                problems = asyncio.run(serve(status["address"], directory))
        finally:
            console.print(modelyard("down", "--dir", state))
    return conclude(problems)


if __name__ == "__main__":
    sys.exit(main())
