"""The command that sets two versions side by side."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from rich.text import Text

from modelyard.catalogue import Version
from modelyard.cli.command import Reference, Session, remote
from modelyard.cli.output import Part, pairs, table, when
from modelyard.compatibility import Comparison, Compatibility, FileDifference
from modelyard.config import format_bytes

app = typer.Typer()

_STYLES = {
    Compatibility.SAME: "green",
    Compatibility.WIDENED: "green",
    Compatibility.NARROWED: "yellow",
    Compatibility.BREAKING: "red",
}
_MEANINGS = {
    Compatibility.SAME: "the same tensors",
    Compatibility.WIDENED: "its callers can call the other: that takes more",
    Compatibility.NARROWED: "the other takes less, or returns more than they may expect",
    Compatibility.BREAKING: "its callers cannot call the other",
}


@app.command()
@remote
def diff(session: Session, a: Reference, b: Reference) -> None:
    """Compare two versions: can whoever calls A call B, and what differs in signature, files and metrics."""
    with session.client() as client:
        found = client.compare(a, b)
    document = {
        "base": found.base,
        "other": found.other,
        "compatibility": found.compatibility.name,
        "differences": found.differences,
        "files": found.files,
    }
    session.output.show(document, *_parts(found))


def _parts(found: Comparison) -> Iterator[Part]:
    base, other = (f"{v.model}@{v.version}" for v in (found.base, found.other))
    style = _STYLES[found.compatibility]
    yield Text.assemble(
        f"{base} → {other}: ", (found.compatibility.name, f"bold {style}"), f", {_MEANINGS[found.compatibility]}"
    )
    for difference in found.differences:
        yield Text(f"  {difference}", style=_style_of(difference))
    yield table("", base, other, rows=list(_rows(found.base, found.other)))
    if found.files:
        yield table("", "file", base, other, "in common", rows=[_file(file) for file in found.files])


def _style_of(difference: str) -> str:
    """The style of a difference, which ends with what it means."""
    verdict = difference.rpartition("(")[2].rstrip(")").upper()
    return _STYLES[Compatibility[verdict]] if verdict in Compatibility.__members__ else ""


def _rows(base: Version, other: Version) -> Iterator[tuple[str, str, str]]:
    """What is said of the two, side by side, where there is something to say."""
    said = [_said(version) for version in (base, other)]
    yield from ((name, said[0][name], said[1][name]) for name in said[0] if any(one[name] for one in said))
    for name in sorted(base.metrics.keys() | other.metrics.keys()):
        yield name, _number(base.metrics.get(name)), _number(other.metrics.get(name)) + _change(name, base, other)


def _said(version: Version) -> dict[str, str]:
    return {
        "published": when(version.create_time_s),
        "format": version.format,
        "size": format_bytes(version.size_bytes),
        "labels": pairs(version.labels),
        "parent": version.lineage.parent_version,
        "job": version.lineage.job,
        "dataset": version.lineage.dataset,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _change(name: str, base: Version, other: Version) -> str:
    if name not in base.metrics or name not in other.metrics:
        return ""
    change = other.metrics[name] - base.metrics[name]
    return f" ({change:+.4g})" if change else ""


def _file(file: FileDifference) -> tuple[Part, ...]:
    base, other = file.base_size_bytes, file.other_size_bytes
    if base < 0:
        mark = Text("+", style="green")
    elif other < 0:
        mark = Text("-", style="red")
    else:
        mark = Text("~", style="yellow")
    common = format_bytes(file.shared_bytes) if other >= 0 else ""
    return mark, file.path, _size(base), _size(other), common


def _size(size_bytes: int) -> str:
    return "" if size_bytes < 0 else format_bytes(size_bytes)
