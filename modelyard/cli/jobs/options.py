"""How the options of `jobs submit` are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from modelyard.datasets.image_options import ImageOptions, Size
from modelyard.datasets.mapping import Columns, parse_columns
from modelyard.errors import InvalidInputError

Mapped = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="INPUT=COLUMN,...", help="columns that make an input; *: all others but keys; several times"
    ),
]
Cast = Annotated[bool, typer.Option("--cast", help="let values be rounded to what the model takes")]
Kind = Annotated[str, typer.Option(metavar="KIND", help="npy, npz, parquet, csv, jsonl, images; else by the suffix")]
Key = Annotated[str, typer.Option(metavar="COLUMN", help="a column to be written beside the outputs")]
ShardBy = Annotated[str, typer.Option(metavar="COLUMN", help="rows with the same value are executed together")]
Shards = Annotated[int, typer.Option(min=0, help="of that column's hash; 0: as many as fit")]
Format = Annotated[str, typer.Option("--format", help="of the results: parquet or npy")]
Priority = Annotated[int, typer.Option(min=0, max=9, metavar="N", help="among the tenant's jobs, 0 is first")]
Deadline = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="it fails if it takes longer; 0: none")]
MaxAttempts = Annotated[int, typer.Option(min=1, help="of a row, until it is given up")]
MaxDeadRows = Annotated[int, typer.Option(min=0, help="that may be given up, until the job fails")]
RequestId = Annotated[str, typer.Option(metavar="ID", help="the same again finds the same job")]
Resize = Annotated[str, typer.Option(metavar="SIDE|HxW", help="of images: the shorter side, or both")]
Crop = Annotated[str, typer.Option(metavar="SIDE|HxW", help="of images, out of the middle")]
Scale = Annotated[str, typer.Option(metavar="FACTOR", help="of pixels, as 1/255")]
Mean = Annotated[str, typer.Option(metavar="R,G,B", help="what is subtracted from scaled pixels")]
Std = Annotated[str, typer.Option(metavar="R,G,B", help="what they are divided by then")]
ChannelsFirst = Annotated[bool, typer.Option("--channels-first", help="[3, H, W] instead of [H, W, 3]")]


def read_columns(texts: Sequence[str] | None) -> Columns:
    """Read --map. InvalidInputError: what was expected."""
    try:
        return parse_columns(texts or ())
    except InvalidInputError as error:
        raise InvalidInputError(f"--map: {error.message}") from None


def read_images(
    *, resize: str, crop: str, scale: str, mean: str, std: str, channels_first: bool
) -> ImageOptions | None:
    """Read the options of images; None where none was given. InvalidInputError: what was expected."""
    options = ImageOptions(
        resize=_size("--resize", resize, square=False),
        crop=_size("--crop", crop, square=True),
        scale=_factor(scale),
        mean=_channels("--mean", mean, 0.0),
        std=_channels("--std", std, 1.0),
        channels_first=channels_first,
    )
    return None if options == ImageOptions() else options


def _size(option: str, text: str, *, square: bool) -> Size | None:
    """Height and width; of one number, both or the shorter side."""
    if not text:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and (width.isdecimal() or text == height)):
        raise InvalidInputError(f"{option}: expected pixels as 224 or 224x320, got {text!r}")
    return int(height), int(width or (height if square else 0))


def _factor(text: str) -> float:
    """A number, or one divided by another."""
    above, _, below = (text or "0").partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise InvalidInputError(f"--scale: expected a factor as 0.5 or 1/255, got {text!r}") from None


def _channels(option: str, text: str, default: float) -> tuple[float, float, float]:
    if not text:
        return default, default, default
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        raise InvalidInputError(f"{option}: expected three numbers as 0.5,0.5,0.5, got {text!r}") from None
    return red, green, blue
