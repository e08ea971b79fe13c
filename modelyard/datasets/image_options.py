"""What is done with every image of a dataset, as a job says it: values alone, which a client can hold, too."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import InvalidInputError

MOST_PIXELS = 1 << 26
Size = tuple[int, int]


@dataclass(frozen=True)
class ImageOptions:
    """What is done with every image, in this order.

    Attributes:
        resize: height and width in pixels, bilinear; with one of them 0 the shorter side gets the other's length and
            the proportions stay; None: nothing is resized, and all have to be of the first one's size.
        crop: height and width that are cut out of the middle; None: nothing is cut.
        scale: what pixels are multiplied with; then they are FP32. 0: they stay UINT8.
        mean: what is subtracted from each channel after that.
        std: what each channel is divided by after that.
        channels_first: [3, H, W] instead of [H, W, 3].
    """

    resize: Size | None = None
    crop: Size | None = None
    scale: float = 0.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels_first: bool = False

    def check(self) -> None:
        """Raise InvalidInputError if they make no sense."""
        resize, crop = self.resize or (1, 1), self.crop or (1, 1)
        if min(resize) < 0 or not any(resize) or min(crop) < 1 or resize[0] * resize[1] > MOST_PIXELS:
            raise InvalidInputError(f"images: expected sizes in pixels, got resize {self.resize} and crop {self.crop}")
        scaled = self.mean != (0.0, 0.0, 0.0) or self.std != (1.0, 1.0, 1.0)
        if 0.0 in self.std or (scaled and not self.scale):
            raise InvalidInputError("images: expected a scale where there is a mean or std, and no std of 0")
