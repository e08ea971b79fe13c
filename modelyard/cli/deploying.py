"""The command that serves a version, with all that can be said about how and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from modelyard.cli.command import Reference, Session, remote
from modelyard.cli.deployments import summary
from modelyard.deployment import DEFAULT_QUEUE_SIZE, InstanceOptions, Selector
from modelyard.errors import InvalidInputError

app = typer.Typer()

Rows = Annotated[list[int] | None, typer.Option(metavar="ROWS", help="may be given several times")]


@app.command()
@remote
def deploy(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    name: Reference,
    replicas: Annotated[int, typer.Option(min=1, help="how many workers shall hold it")] = 1,
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="worker=NAME|label=KEY=VALUE", help="where it may be; may be given several times"),
    ] = None,
    threads: Annotated[int, typer.Option(help="of a copy's operators; 0: as many as the worker has cores")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda; cuda where the version needs a GPU, else cpu")] = "",
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or tf32; as the artifact is")] = "",
    copies: Annotated[int, typer.Option(help="loaded copies of an instance, which share its queue")] = 1,
    runner: Annotated[str, typer.Option(help="instances of a worker that name the same share a process")] = "",
    warm_up: Rows = None,
    max_batch_size: Annotated[int, typer.Option(help="rows of a batch; 0: calls are executed one by one")] = 0,
    max_queue_delay_us: Annotated[int, typer.Option(help="how long a call waits for others to share a batch")] = 0,
    preferred_batch_size: Rows = None,
    max_queue_size: Annotated[int, typer.Option(help="calls that may wait")] = DEFAULT_QUEUE_SIZE,
    on_demand: Annotated[bool, typer.Option("--on-demand", help="load it at the first call")] = False,
    idle_s: Annotated[float, typer.Option(help="unload it when it was not called for so long; 0: for others")] = 0.0,
    replace: Annotated[bool, typer.Option("--replace", help="then end the model's other deployments")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="return once all replicas answer, or at once")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds to wait")] = 60.0,
) -> None:
    """Serve a version, the newest where none is named."""
    sizes, preferred = tuple(warm_up or ()), tuple(preferred_batch_size or ())
    batching = (max_batch_size, max_queue_delay_us, preferred, max_queue_size)
    options = InstanceOptions(threads, device, precision, copies, runner, sizes, *batching)
    where = parse_selector(on or ())
    with session.client() as client:
        status = client.deploy(
            name,
            replicas=replicas,
            options=options,
            on=where,
            on_demand=on_demand,
            idle_s=idle_s,
            replace=replace,
            wait=wait,
            timeout_s=timeout,
        )
    session.output.show(status, summary(status))


def parse_selector(texts: Sequence[str]) -> Selector:
    """Read `worker=NAME` and `label=KEY=VALUE`; raise InvalidInputError saying what was expected."""
    workers: list[str] = []
    labels: dict[str, str] = {}
    for text in texts:
        kind, _, value = text.partition("=")
        key, equals, wanted = value.partition("=")
        if kind == "worker" and value:
            workers.append(value)
        elif kind == "label" and key and equals:
            labels[key] = wanted
        else:
            raise InvalidInputError(f"--on: expected worker=NAME or label=KEY=VALUE, got {text!r}")
    return Selector(tuple(workers), tuple(sorted(labels.items())))
