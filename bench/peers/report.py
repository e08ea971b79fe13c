"""Tables: every figure, and the aims."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.peers.cases import Aim, aims
from bench.peers.measurement import Case, Measurement, of

FIGURES = {"requests_per_s": "req/s", "p50_us": "p50 µs", "p99_us": "p99 µs", "cpu_us": "CPU µs/req"}


def ratios(aim: Aim, found: Sequence[Measurement]) -> list[float]:
    """The ratio of every round in which both sides have figures."""
    mine = of(found, aim.case.name, aim.target)
    others = [of(found, aim.case.name, name) for name in aim.against]
    best = min if aim.at_most else max
    rounds = zip(mine, *others, strict=True)
    return [
        getattr(own, aim.figure) / best(getattr(other, aim.figure) for other in theirs)
        for own, *theirs in rounds
        if not any(m.error for m in (own, *theirs))
    ]


def verdict(aim: Aim, found: Sequence[Measurement]) -> dict[str, object]:
    """The median of the ratios, their extremes, and whether that meets the aim."""
    values = ratios(aim, found)
    head: dict[str, object] = {"aim": aim.text, "case": aim.case.name, "limit": aim.limit, "at_most": aim.at_most}
    if not values:
        return head | {"verdict": "not measured"}
    median = statistics.median(values)
    text = "met" if aim.met(median) else f"missed by {abs(median / aim.limit - 1):.0%}"
    return (
        head
        | {"ratio": round(median, 3), "least": round(min(values), 3), "most": round(max(values), 3)}
        | {
            "rounds": len(values),
            "verdict": text,
        }
    )


def verdicts(found: Sequence[Measurement]) -> list[dict[str, object]]:
    """Of every aim whose case was measured."""
    measured = {m.case for m in found}
    return [verdict(aim, found) for aim in aims() if aim.case.name in measured]


def aims_table(rows: Sequence[dict[str, object]]) -> str:
    """The aims as a Markdown table."""
    lines = ["| aim | limit | measured (least to most) | |", "|---|---|---|---|"]
    for row in rows:
        bound = f"{'at most' if row['at_most'] else 'at least'} {row['limit']}×"
        ratio = f"{row['ratio']:.2f}× ({row['least']:.2f}–{row['most']:.2f})" if "ratio" in row else "–"
        lines.append(f"| {row['aim']} | {bound} | {ratio} | {row['verdict']} |")
    return "\n".join(lines)


def figures_table(cases: Sequence[Case], found: Sequence[Measurement]) -> str:
    """The medians of all rounds as a Markdown table."""
    lines = ["| case | server | " + " | ".join(FIGURES.values()) + " |", "|---|---|" + "---|" * len(FIGURES)]
    for case in cases:
        lines += [_figures_line(case.name, target, of(found, case.name, target)) for target in case.targets]
    return "\n".join(lines)


def _figures_line(case: str, target: str, rounds: Sequence[Measurement]) -> str:
    good = [m for m in rounds if not m.error]
    if not good:
        return f"| {case} | {target} | {rounds[0].error.splitlines()[-1] if rounds else 'not run'} | | | |"
    medians = (statistics.median(getattr(m, figure) for m in good) for figure in FIGURES)
    return f"| {case} | {target} | " + " | ".join(f"{median:,.0f}" for median in medians) + " |"
