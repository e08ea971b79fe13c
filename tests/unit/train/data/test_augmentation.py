from __future__ import annotations

import numpy as np
import torch

from modelyard.train.data.augmentation import brightness, crop, flip

IMAGE = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(2, 3, 4)


def generators(count: int = 60) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_half_of_all_are_mirrored() -> None:
    flipped = [torch.equal(flip(IMAGE, generator), IMAGE.flip(-1)) for generator in generators()]
    kept = [torch.equal(flip(IMAGE, generator), IMAGE) for generator in generators()]
    assert 15 < sum(flipped) < 45
    assert sum(flipped) + sum(kept) == 60


def test_crops_are_moves_within_the_padding() -> None:
    wide = np.pad(IMAGE.numpy(), ((0, 0), (1, 1), (1, 1)))
    moves = {crop(IMAGE, generator, 1).numpy().tobytes() for generator in generators()}
    assert moves == {wide[:, y : y + 3, x : x + 4].tobytes() for y in range(3) for x in range(3)}


def test_brightness_is_one_factor() -> None:
    factors = [(brightness(IMAGE, generator, 0.2) / IMAGE).flatten()[1:] for generator in generators()]
    assert all(torch.allclose(factor, factor[0]) for factor in factors)
    means = [factor.mean().item() for factor in factors]
    assert 0.8 <= min(means) < 0.9
    assert 1.1 < max(means) <= 1.2


def test_the_same_generator_gives_the_same() -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    torch.testing.assert_close(brightness(IMAGE, one, 0.5), brightness(IMAGE, other, 0.5), rtol=0, atol=0)
    assert IMAGE.sum() == 276  # not changed in place
