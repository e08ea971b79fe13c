"""From data to served predictions through the suite, on two workers, of which one is killed twice.

What `make demo` runs: once it dies in mid-training, and what comes out is what one process comes to that is left alone;
once while requests flow, of which none fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from examples.digits import data
from examples.digits.recipe import Digits
from examples.digits.storm import TOLERANCE, Floats, Questions, Storm, Tally, classify
from examples.suite import Suite, conclude, console, suite
from examples.training import Task, course, outcome, submit
from modelyard import TrainingJobOptions
from modelyard.aio import Client
from modelyard.catalogue import Version
from modelyard.train import TrainingOptions, run_local
from modelyard.train.data.opening import TableOptions, open_table

MODEL = "digits"
EPOCHS, BATCH_SIZE = 30, 64
OPTIONS = TrainingJobOptions(target="digit", epochs=EPOCHS, batch_size=BATCH_SIZE, workers=2)
LEAST_ACCURACY = 0.95
MIDST = 10
"""A worker is killed once a tenth of all steps is done."""

SAME = 0.01
"""Sums in another order are rounded otherwise, and hundreds of steps make more of that: so far may metrics be apart."""

Labels = npt.NDArray[np.int64]


async def trained(client: Client, running: Suite, files: tuple[Path, Path]) -> tuple[Version, list[str]]:
    """Train, and kill a worker meanwhile; return the version, and what went wrong."""
    job = await submit(client, Task(MODEL, Path(__file__).parent, *files, OPTIONS))
    killed = ""
    async with aclosing(course(client, job)) as states:
        async for state in states:
            progress = state.progress.training
            if killed or not progress or len(progress.members) < OPTIONS.workers:
                continue
            if 0 < progress.steps <= progress.step * MIDST:
                killed = progress.members[-1]
                os.kill(running.pids()[killed], signal.SIGKILL)
                console.print(f"[bold]killed[/] {killed} with SIGKILL after step {progress.step} of {progress.steps}")
    ended = (await client.jobs.get(job)).progress.training
    problems = ["no worker could be killed: training was over before"] * (not killed)
    problems += [f"{ended} steps were done"] * (ended is None or ended.step != ended.steps)
    return await outcome(client, job), problems


def undisturbed(files: tuple[Path, Path], version: Version) -> list[str]:
    """Train the same here, in one process; print how far that is from what the suite came to."""
    rows, held_out = (open_table(path, TableOptions(target="digit")) for path in files)
    result = run_local(Digits(), rows, held_out, TrainingOptions(epochs=EPOCHS, batch_size=BATCH_SIZE))
    best = [epoch for epoch in result.history if epoch.best][-1].validation
    apart = {name: abs(value - version.metrics[f"validation_{name}"]) for name, value in best.items()}
    told = ", ".join(f"{name} {value:.4g}" for name, value in best.items())
    console.print(f"[bold]left alone[/] one process comes to {told}: at most {max(apart.values()):.2g} apart\n")
    return [f"{name} is {value:.2g} apart" for name, value in apart.items() if value > SAME]


async def local_run(client: Client, version: Version, images: Floats, directory: Path) -> Questions:
    """Have the model answer here, one image at a time: what its workers are to answer."""
    await client.pull(MODEL, directory / "pulled", version=version.version)
    session = onnxruntime.InferenceSession(directory / "pulled/model.onnx", providers=["CPUExecutionProvider"])
    answers = [session.run(None, {"input": row[None]})[0] for row in images]
    return Questions(MODEL, images, np.concatenate(answers))


async def measure(client: Client, questions: Questions, labels: Labels) -> list[str]:
    """Classify all held-out digits in one call; print a few, and how many are right."""
    answers = await client.infer(MODEL, {"input": questions.images})
    predictions = answers["output"].argmax(axis=1)
    accuracy = float((predictions == labels).mean())
    show(questions.images[:4], predictions[:4], labels[:4])
    console.print(f"[bold]classified[/] {len(labels)} held-out digits over gRPC: accuracy {accuracy:.1%}")
    return [f"accuracy {accuracy:.1%} is below {LEAST_ACCURACY:.0%}"] * (accuracy < LEAST_ACCURACY)


def show(images: Floats, predictions: Labels, labels: Labels) -> None:
    """Print a few digits as they are, with what was predicted."""
    shades = " ░▒▓█"
    columns = [
        ["".join(shades[min(4, int(v * 4.99))] * 2 for v in row) for row in image.reshape(8, 8)] for image in images
    ]
    for line in range(8):
        console.print("  " + "  ".join(column[line] for column in columns), markup=False)
    captions = [f"{p} {'✓' if p == t else f'✗ ({t})'}".center(16) for p, t in zip(predictions, labels, strict=True)]
    console.print("  " + "  ".join(captions) + "\n", style="bold")


async def lose_a_worker(client: Client, questions: Questions, pids: dict[str, int]) -> Tally:
    """Kill a worker while requests flow; return what became of those."""
    storm = Storm(client, questions, pids)
    await storm.run()
    tally = storm.tally
    asked, failed = len(tally.latencies_s) + len(tally.failures), len(tally.failures)
    console.print(
        f"[bold]killed[/] {storm.victim} with SIGKILL while {asked} requests flowed: [bold]{failed} failed[/]"
    )
    tally.report()
    recovered_s = await storm.recovery_s()
    console.print(f"[bold]recovered[/] {storm.victim} answers again, {recovered_s:.1f} s after it was killed\n")
    return tally


async def served(client: Client, version: Version, held_out: Path, running: Suite) -> list[str]:
    """Deploy, classify, lose a worker; return what went wrong."""
    deployed = await client.deploy(MODEL, version.version, replicas=2)
    where = ", ".join(instance.worker for instance in deployed.instances)
    console.print(f"[bold]deployed[/] {MODEL}@{version.version} on {where}\n")
    digits = np.load(held_out)
    questions = await local_run(client, version, digits["pixels"], running.directory)
    problems = await measure(client, questions, digits["digit"])
    calm = await classify(client, questions)
    same = len(questions.images) - len(calm.failures) - calm.wrong
    console.print(f"{same} of {len(questions.images)} answers equal a local run within {TOLERANCE:g}")
    calm.report()
    stormy = await lose_a_worker(client, questions, running.pids())
    return problems + calm.problems() + stormy.problems()


async def tour(running: Suite) -> list[str]:
    """All of it; return what went wrong."""
    files = data.write(running.directory)
    async with Client(running.address) as client:
        version, problems = await trained(client, running, files)
        problems += await asyncio.to_thread(undisturbed, files, version)
        return problems + await served(client, version, files[1], running)


def main() -> int:
    """Run the demo; the exit status says whether all of it went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    with suite(parser.parse_args().workers) as running:
        return conclude(asyncio.run(tour(running)))


if __name__ == "__main__":
    sys.exit(main())
