"""A directory of images: a row a file, in the order of their paths, as pixels [H, W, 3] with their path beside them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from modelyard.datasets.columns import Array, Batch, Column
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.image_options import MOST_PIXELS, ImageOptions, Size
from modelyard.datasets.source import Directory, Source, buffered
from modelyard.errors import InvalidInputError

SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
FORMATS = ("JPEG", "PNG")
IMAGE, PATH = "image", "path"


def is_image(path: str) -> bool:
    """Whether a file is an image by its suffix."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def _is_text(paths: Sequence[str]) -> bool:
    """Whether all of them are Unicode, which files' names need not be."""
    try:
        "".join(paths).encode()
    except UnicodeEncodeError:
        return False
    return True


class ImageDataset(Dataset):
    """Images; files whose suffix is of no image are passed over."""

    def __init__(self, directory: Directory, options: ImageOptions | None = None) -> None:
        """List the files.

        Raises:
            InvalidInputError: the options make no sense.
        """
        self._options = options or ImageOptions()
        self._options.check()
        self._directory = directory
        self._paths = [path for path in directory.paths() if is_image(path)]
        size = self._first_size()
        shape = (3, *size) if self._options.channels_first else (*size, 3)
        pixels = Column(IMAGE, "FP32" if self._options.scale else "UINT8", shape)
        columns = (pixels, Column(PATH, "BYTES", text=_is_text(self._paths)))
        super().__init__(directory.name, len(self._paths), columns, {})

    @property
    def main_column(self) -> str:
        """Its pixels."""
        return IMAGE

    def _first_size(self) -> Size:
        """Height and width of every row; -1 if no file tells."""
        fixed = self._options.crop or self._options.resize
        if fixed and all(fixed):
            return fixed
        for path in self._paths:
            try:
                pixels = self._options_applied(path)
            except InvalidInputError:
                continue  # its row says so when it is read
            return pixels.shape[0], pixels.shape[1]
        return -1, -1

    def _options_applied(self, path: str) -> Array:
        return _reshaped(decoded(self._directory.open(path)), self._options, path)

    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        rows: dict[int, list[Array | bytes]] = {}
        failed: dict[int, str] = {}
        for row in range(begin, end):
            try:
                rows[row] = self._row(self._paths[row], columns)
            except InvalidInputError as error:
                failed[row] = str(error)
        found: dict[str, Array] = {}
        for place, column in enumerate(columns):
            dtype = {"FP32": np.float32, "UINT8": np.uint8}.get(column.datatype, object)
            values = np.empty((len(rows), *(max(size, 0) for size in column.shape)), dtype)
            for at, cells in enumerate(rows.values()):
                values[at] = cells[place]
            found[column.name] = values
        return Batch(np.fromiter(rows, np.int64), found, failed)

    def _row(self, path: str, columns: Sequence[Column]) -> list[Array | bytes]:
        return [path.encode(errors="surrogateescape") if c.name == PATH else self._image(path, c) for c in columns]

    def _image(self, path: str, column: Column) -> Array:
        pixels = _scaled(self._options_applied(path), self._options)
        if pixels.shape != column.shape:
            raise InvalidInputError(
                f"{path}: expected {list(column.shape)}, got {list(pixels.shape)}: ask for a resize"
            )
        return pixels


def decoded(source: Source) -> Image.Image:
    """The image of a PNG or JPEG file as RGB.

    Raises:
        InvalidInputError: it is none, or corrupt, or too large, or has more than 8 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size, which is looked at here
            with buffered(source) as file, Image.open(file, formats=FORMATS) as image:
                _check(image, source.name)
                return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise InvalidInputError(f"{source.name}: expected a PNG or JPEG image, got neither") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInputError(f"{source.name}: expected a PNG or JPEG image: {error}") from error


def _check(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise InvalidInputError(f"{name}: expected at most {MOST_PIXELS} pixels, got {image.width} x {image.height}")
    if image.mode.startswith(("I", "F")):
        raise InvalidInputError(f"{name}: expected 8 bits a channel, got mode {image.mode}")


def _reshaped(image: Image.Image, options: ImageOptions, path: str) -> Array:
    """Resize and crop; return [H, W, 3]."""
    if options.resize:
        height, width = _target(options.resize, (image.height, image.width))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if options.crop:
        height, width = options.crop
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        if left < 0 or top < 0:
            got = f"{image.height} x {image.width}"
            raise InvalidInputError(f"{path}: expected at least {height} x {width} pixels, got {got}")
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image)


def _target(resize: Size, size: Size) -> Size:
    if all(resize):
        return resize
    ratio = max(resize) / min(size)
    return round(size[0] * ratio), round(size[1] * ratio)


def _scaled(pixels: Array, options: ImageOptions) -> Array:
    if options.scale:
        mean, std = np.asarray(options.mean, np.float32), np.asarray(options.std, np.float32)
        pixels = (pixels * np.float32(options.scale) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if options.channels_first else pixels
