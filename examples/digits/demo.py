"""From data to served predictions, and on through the death of a worker: what `make demo` runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from examples.digits.train import Digits, Floats, export, load, train
from modelyard.aio import Client
from modelyard.errors import ModelyardError

MODEL = "digits"
TOLERANCE = 1e-6
CONCURRENCY = 8
AFTER_THE_KILL = 2000
"""Requests that must be answered after the worker was killed."""

RECOVERY_S = 30.0

console = Console(highlight=False, soft_wrap=True)


@dataclass
class Tally:
    """What became of a stream of requests."""

    latencies_s: list[float] = field(default_factory=list)
    by_worker: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    wrong: int = 0

    def percentile_ms(self, share: float) -> float:
        """A percentile of the latencies."""
        return float(np.percentile(self.latencies_s, share)) * 1e3


def modelyard(*arguments: str) -> str:
    """Run the CLI as a user would; return what it printed."""
    command = [sys.executable, "-m", "modelyard", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"modelyard {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout.strip()


async def ask(client: Client, image: Floats, expected: Floats, tally: Tally) -> None:
    """Classify one image, compare with the local run, note everything."""
    started_s = time.perf_counter()
    try:
        result = await client.infer_result(MODEL, {"x": image[None]})
    except ModelyardError as error:
        tally.failures.append(f"{type(error).__name__}: {error}")
        return
    tally.latencies_s.append(time.perf_counter() - started_s)
    tally.by_worker[result.worker] += 1
    tally.wrong += not np.allclose(result.outputs["logits"][0], expected, rtol=0, atol=TOLERANCE)


async def classify(client: Client, images: Floats, expected: Floats) -> Tally:
    """Classify every image, several at a time."""
    tally = Tally()
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(index: int) -> None:
        async with slots:
            await ask(client, images[index], expected[index], tally)

    await asyncio.gather(*(one(i) for i in range(len(images))))
    return tally


class Storm:
    """Requests that flow while a worker that has answered is killed, until many more were answered."""

    def __init__(self, client: Client, images: Floats, expected: Floats, pids: dict[str, int]) -> None:
        self.tally = Tally()
        self.victim = ""
        self._client = client
        self._images = images
        self._expected = expected
        self._pids = pids
        self._goal = sys.maxsize
        self._killed_s = 0.0

    async def run(self) -> None:
        """Keep several requests in flight."""
        await asyncio.gather(*(self._ask_on(offset) for offset in range(CONCURRENCY)))

    async def recovery_s(self) -> float:
        """Ask on until the killed worker answers again; return how long after its death that was, in seconds."""
        after = Tally()
        while self.victim not in after.by_worker:
            await ask(self._client, self._images[0], self._expected[0], after)
            if time.perf_counter() - self._killed_s > RECOVERY_S:
                self.tally.failures.append(f"{self.victim} did not answer again within {RECOVERY_S:g} s")
                break
        self.tally.failures += after.failures
        return time.perf_counter() - self._killed_s

    async def _ask_on(self, index: int) -> None:
        while len(self.tally.latencies_s) < self._goal and len(self.tally.failures) < AFTER_THE_KILL:
            row = index % len(self._images)
            await ask(self._client, self._images[row], self._expected[row], self.tally)
            index += CONCURRENCY
            if not self.victim and len(self.tally.by_worker) > 1:
                self._kill()

    def _kill(self) -> None:
        self.victim = self.tally.by_worker.most_common()[0][0]
        os.kill(self._pids[self.victim], signal.SIGKILL)
        self._killed_s = time.perf_counter()
        self._goal = len(self.tally.latencies_s) + AFTER_THE_KILL


def show(images: Floats, predictions: np.typing.NDArray[np.int64], labels: np.typing.NDArray[np.int64]) -> None:
    """Print a few digits as they are, with what was predicted."""
    shades = " ░▒▓█"
    columns = [
        ["".join(shades[min(4, int(v * 4.99))] * 2 for v in row) for row in image.reshape(8, 8)] for image in images
    ]
    for line in range(8):
        console.print("  " + "  ".join(column[line] for column in columns), markup=False)
    captions = [f"{p} {'✓' if p == t else f'✗ ({t})'}".center(16) for p, t in zip(predictions, labels, strict=True)]
    console.print("  " + "  ".join(captions) + "\n", style="bold")


def report(tally: Tally) -> None:
    """Print latencies, and which worker served how much."""
    table = Table("worker", "requests", "share", box=None, padding=(0, 3, 0, 1))
    for worker, count in sorted(tally.by_worker.items()):
        table.add_row(worker, str(count), f"{count / tally.by_worker.total():.0%}")
    console.print(table)
    console.print(
        f"  p50 {tally.percentile_ms(50):.2f} ms, p99 {tally.percentile_ms(99):.2f} ms, {CONCURRENCY} in flight\n"
    )


def build(directory: Path) -> tuple[Digits, Path, Floats]:
    """Train, export, and run the held-out digits locally; return those, the model and its answers."""
    digits = load()
    started_s = time.perf_counter()
    network = train(digits)
    path = directory / "digits.onnx"
    export(network, path)
    console.print(
        f"[bold]trained[/] 64-128-128-10 on {len(digits.train_x)} digits and exported it in "
        f"{time.perf_counter() - started_s:.1f} s ({path.stat().st_size / 1024:.0f} KiB of ONNX)"
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    local = np.concatenate([session.run(None, {"x": row[None]})[0] for row in digits.test_x])
    return digits, path, local


async def serve(address: str, pids: dict[str, int], digits: Digits, path: Path, local: Floats) -> list[str]:
    """Push, deploy, classify, lose a worker; return what went wrong."""
    async with Client(address) as client:
        version = await client.push(MODEL, path, description="handwritten digits, 8x8 pixels")
        deployed = await client.deploy(MODEL, version.version, replicas=2)
        where = ", ".join(i.worker for i in deployed.instances)
        console.print(f"[bold]deployed[/] {MODEL}@{version.version} on {where}\n")

        answers = await client.infer(MODEL, {"x": digits.test_x})
        predictions = answers["logits"].argmax(axis=1)
        accuracy = float((predictions == digits.test_y).mean())
        calm = await classify(client, digits.test_x, local)
        show(digits.test_x[:4], predictions[:4], digits.test_y[:4])
        console.print(
            f"[bold]classified[/] {len(digits.test_x)} held-out digits over gRPC: accuracy {accuracy:.1%}; "
            f"{len(digits.test_x) - calm.wrong - len(calm.failures)} of {len(digits.test_x)} answers equal "
            f"a local ONNX Runtime run within {TOLERANCE:g}"
        )
        report(calm)

        storm = Storm(client, digits.test_x, local, pids)
        await storm.run()
        stormy = storm.tally
        console.print(
            f"[bold]killed[/] {storm.victim} with SIGKILL while requests flowed: of "
            f"{len(stormy.latencies_s) + len(stormy.failures)} requests [bold]{len(stormy.failures)} failed[/], "
            f"{stormy.wrong} were answered wrongly"
        )
        report(stormy)
        recovered_s = await storm.recovery_s()
        console.print(f"[bold]recovered[/] {storm.victim} answers again, {recovered_s:.1f} s after it was killed\n")
    problems = [*calm.failures, *stormy.failures]
    problems += [f"{calm.wrong + stormy.wrong} answers differ from the local run"] * bool(calm.wrong + stormy.wrong)
    problems += [f"accuracy {accuracy:.1%} is below 95%"] * (accuracy < 0.95)
    return problems


def main() -> int:
    """Run the demo; the exit status says whether all of it went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state"
        digits, path, local = build(Path(scratch))
        console.print(modelyard("up", "--workers", str(workers), "--port", "0", "--dir", str(state), "--detach"))
        try:
            status = json.loads(modelyard("status", "--dir", str(state), "--json"))
            pids = {p["name"]: p["pid"] for p in status["processes"]}
            problems = asyncio.run(serve(status["address"], pids, digits, path, local))
        finally:
            console.print(modelyard("down", "--dir", str(state)))
    for problem in problems[:10]:
        console.print(f"[red]{problem}[/]")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
