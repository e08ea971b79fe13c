from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelyard.datasets import images
from modelyard.datasets.image_options import ImageOptions
from modelyard.datasets.images import ImageDataset
from modelyard.datasets.source import LocalDirectory
from modelyard.errors import InvalidInputError


def save(path: Path, height: int, width: int, mode: str = "RGB") -> None:
    Image.new(mode, (width, height), 100 if mode in {"L", "I;16"} else None).save(path)


def opened(path: Path, options: ImageOptions | None = None) -> ImageDataset:
    return ImageDataset(LocalDirectory(path), options)


def test_files_that_are_no_images_fail_by_name_and_the_others_are_given(tmp_path: Path) -> None:
    for name in ("a.png", "c.jpg", "f.png"):
        save(tmp_path / name, 3, 4)
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "d.jpeg").write_bytes((tmp_path / "c.jpg").read_bytes()[:200])
    save(tmp_path / "e.png", 4, 4)
    (tmp_path / "notes.txt").write_text("passed over")
    batch = opened(tmp_path).batch(0, 6)
    assert batch.rows.tolist() == [0, 2, 5]
    assert batch.columns["path"].tolist() == [b"a.png", b"c.jpg", b"f.png"]
    assert batch.columns["image"].shape == (3, 3, 4, 3)
    assert batch.columns["image"].dtype == np.uint8
    assert batch.failed[1].startswith("b.png: expected a PNG or JPEG image")
    assert batch.failed[3].startswith("d.jpeg: expected a PNG or JPEG image")
    assert batch.failed[4] == "e.png: expected [3, 4, 3], got [4, 4, 3]: ask for a resize"


def test_a_first_file_that_is_no_image_does_not_tell_the_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    save(tmp_path / "b.png", 2, 5)
    dataset = opened(tmp_path)
    assert dataset.columns[0].shape == (2, 5, 3)
    assert list(dataset.batch(0, 2).failed) == [0]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_any_colours_of_8_bits_become_rgb(tmp_path: Path, mode: str) -> None:
    save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), 2, 2, mode)
    assert opened(tmp_path).read(0, 1)["image"].shape == (1, 2, 2, 3)


def test_more_bits_or_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", 2, 2, "I;16")
    save(tmp_path / "b.png", 9, 9)
    monkeypatch.setattr(images, "MOST_PIXELS", 80)
    failed = opened(tmp_path).batch(0, 2).failed
    assert "a.png: expected 8 bits a channel" in failed[0]
    assert "b.png: expected at most 80 pixels, got 9 x 9" in failed[1]


def test_resize_crop_and_scale(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (51, 102, 255)).save(tmp_path / "a.png")
    stretched = opened(tmp_path, ImageOptions(resize=(8, 4))).read(0, 1)["image"]
    assert stretched.shape == (1, 8, 4, 3)
    options = ImageOptions((0, 10), (6, 8), 1 / 255, (0.2, 0.2, 0.2), (1.0, 0.1, 2.0), channels_first=True)
    dataset = opened(tmp_path, options)
    assert str(dataset.columns[0]) == "'image': FP32 [3, 6, 8]"
    pixels = dataset.read(0, 1)["image"]
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0, :, 3, 3], [0.0, 2.0, 0.4], atol=1e-6)


def test_a_crop_is_of_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[1:4, 2:5] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (opened(tmp_path, ImageOptions(crop=(3, 3))).read(0, 1)["image"] == 200).all()
    with pytest.raises(InvalidInputError, match=r"row 0: a\.png: expected at least 9 x 3 pixels, got 5 x 7"):
        opened(tmp_path, ImageOptions(crop=(9, 3))).read(0, 1)


@pytest.mark.parametrize(
    "options",
    [
        ImageOptions(resize=(0, 0)),
        ImageOptions(resize=(-1, 5)),
        ImageOptions(crop=(0, 5)),
        ImageOptions(resize=(99_999, 99_999)),
        ImageOptions(std=(1.0, 0.0, 1.0), scale=1.0),
        ImageOptions(mean=(1.0, 0.0, 1.0)),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: ImageOptions) -> None:
    with pytest.raises(InvalidInputError, match="images: expected"):
        opened(tmp_path, options)


def test_no_images_are_no_rows(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    assert dataset.rows == 0
    assert dataset.read(0, 0)["path"].shape == (0,)
