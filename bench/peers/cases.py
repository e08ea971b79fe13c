"""What is measured, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peers.measurement import OWN, PERF_ANALYZER, Case
from bench.peers.modelyard import DIRECT, THROUGH

TRITON = "triton"
MLSERVER = ("mlserver", "mlserver, batching")
CONCURRENCIES = (1, 16, 64)
ROADS = {THROUGH: "through the scheduler", DIRECT: "straight to the runner"}
MLP, RESNET, TENSOR = "mlp", "resnet50", "tensor"


def cases() -> list[Case]:
    """All of them. MLServer has neither ModelConfig, for perf_analyzer, nor answers a stream message by message."""
    return [
        *(Case(MLP, PERF_ANALYZER, s, c, (TRITON, THROUGH, DIRECT)) for s in (False, True) for c in CONCURRENCIES),
        *(Case(MLP, OWN, False, c, (TRITON, *MLSERVER, THROUGH, DIRECT)) for c in CONCURRENCIES),
        *(Case(MLP, OWN, True, c, (TRITON, THROUGH, DIRECT)) for c in CONCURRENCIES),
        Case(RESNET, PERF_ANALYZER, False, 8, (TRITON, THROUGH, DIRECT)),
        Case(RESNET, OWN, False, 8, (TRITON, MLSERVER[0], THROUGH, DIRECT)),
        *(Case(TENSOR, OWN, False, c, (THROUGH, DIRECT)) for c in (1, 4)),
    ]


@dataclass(frozen=True)
class Aim:
    """A ratio of one figure of one target to the best of others in the same round.

    Attributes:
        figure: of a Measurement.
        limit: at most, where less of the figure is better, else at least.
    """

    text: str
    case: Case
    figure: str
    target: str
    against: tuple[str, ...]
    limit: float

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.figure != "requests_per_s"

    def met(self, ratio: float) -> bool:
        """Whether the ratio is within the limit."""
        return ratio <= self.limit if self.at_most else ratio >= self.limit


def aims() -> list[Aim]:
    """The aims, in the order of the report."""
    alone = Case(MLP, PERF_ANALYZER, False, 1, ())
    own = Case(MLP, OWN, False, 64, ())
    resnet = Case(RESNET, PERF_ANALYZER, False, 8, ())
    tensor = Case(TENSOR, OWN, False, 1, ())
    return [
        *aims_against_triton(PERF_ANALYZER),
        *aims_against_triton(OWN),
        Aim("unary, through the scheduler: CPU against MLServer's", own, "cpu_us", THROUGH, MLSERVER, 0.6),
        Aim("one at a time: p50 against Triton's", alone, "p50_us", THROUGH, (TRITON,), 1.7),
        Aim("ResNet-50, 8 at a time: throughput against Triton's", resnet, "requests_per_s", THROUGH, (TRITON,), 0.98),
        Aim("ResNet-50, 8 at a time: p99 against Triton's", resnet, "p99_us", THROUGH, (TRITON,), 1.1),
        Aim("16 MiB: throughput against the runner's own", tensor, "requests_per_s", THROUGH, (DIRECT,), 0.6),
    ]


def aims_against_triton(tool: str) -> list[Aim]:
    """CPU time of a small call, under either generator."""
    limits = ((False, THROUGH, 4.0), (True, THROUGH, 2.0), (False, DIRECT, 3.0), (True, DIRECT, 1.4))
    return [
        Aim(
            f"{'stream' if stream else 'unary'}, {ROADS[target]}: CPU against Triton's, {tool}",
            Case(MLP, tool, stream, 64, ()),
            "cpu_us",
            target,
            (TRITON,),
            limit,
        )
        for stream, target, limit in limits
    ]
