"""Augmentation, normalization and schedule of a training against plain loops."""

from dataclasses import replace

import pytest
import torch

from convlens import ConvlensError, open_data
from convlens.training import default_recipe
from convlens.training.augment import augment, shift_images
from convlens.training.data import LabeledImages
from convlens.training.normalization import mean_and_std

pytest_plugins = "support.trained_runs"


class TestAugmentation:
    def test_shifts_against_a_loop(self):
        images = torch.rand(4, 2, 5, 6)
        down, right = torch.tensor([2, -1, 0, 5]), torch.tensor([-3, 1, 0, 0])
        shifted = shift_images(images, down, right)
        for n in range(4):
            for y in range(5):
                for x in range(6):
                    source = y - int(down[n]), x - int(right[n])
                    inside = 0 <= source[0] < 5 and 0 <= source[1] < 6
                    expected = images[n, :, *source] if inside else torch.zeros(2)
                    assert torch.equal(shifted[n, :, y, x], expected)

    def test_shift_is_drawn_for_each_image_over_the_whole_range(self):
        torch.manual_seed(0)
        images = torch.zeros(400, 1, 9, 9)
        images[:, :, 4, 4] = 1
        moved = augment(images, shift=2, flip=False, erase=0)
        where = moved.flatten(1).argmax(1)
        assert set((where // 9).tolist()) == set((where % 9).tolist()) == {2, 3, 4, 5, 6}

    def test_half_are_mirrored(self):
        torch.manual_seed(0)
        images = torch.rand(200, 1, 4, 4)
        augmented = augment(images, shift=0, flip=True, erase=0)
        mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(augmented, images, strict=True)]
        unchanged = [torch.equal(a, b) for a, b in zip(augmented, images, strict=True)]
        assert all(a != b for a, b in zip(mirrored, unchanged, strict=True))
        assert 70 < sum(mirrored) < 130

    def test_what_is_erased_is_one_rectangle_of_the_stated_sides(self):
        torch.manual_seed(0)
        augmented = augment(torch.ones(300, 3, 16, 24), shift=0, flip=False, erase=0.5)
        erased = (augmented == 0).all(1)
        assert torch.equal(erased, (augmented == 0).any(1))
        assert 110 < int(erased.flatten(1).any(1).sum()) < 190
        for rectangle in erased[erased.flatten(1).any(1)]:
            rows, columns = rectangle.any(1).sum(), rectangle.any(0).sum()
            assert int(rectangle.sum()) == rows * columns
            assert 2 <= rows <= 8
            assert 3 <= columns <= 12

    def test_mean_and_deviation(self):
        pixels = torch.randint(0, 256, (7, 5, 4, 3), dtype=torch.uint8)
        images = LabeledImages(pixels, torch.zeros(7, dtype=torch.int64))
        values = pixels.double() / 255
        mean, std = mean_and_std(images, "data")
        assert mean == pytest.approx(values.mean((0, 1, 2)).tolist(), abs=1e-6)
        assert std == pytest.approx(values.std((0, 1, 2), correction=0).tolist(), abs=1e-6)
        mean, std = mean_and_std(images, "image")
        own = values - values.mean((1, 2), keepdim=True)
        assert mean == (0, 0, 0)
        assert std == pytest.approx(own.std((0, 1, 2), correction=0).tolist(), abs=1e-6)

    def test_flat_images(self):
        flat = LabeledImages(torch.full((4, 3, 3, 1), 7, dtype=torch.uint8), torch.arange(4) % 2)
        with pytest.raises(ConvlensError, match="flat images"):
            mean_and_std(flat, "data")

    def test_schedule_rises_and_falls(self, archive):
        recipe = default_recipe(open_data(archive))
        rates = [recipe.schedule(step, 100) for step in range(100)]
        assert max(rates) == 1
        top = rates.index(1)
        assert top == 19
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[top:] == sorted(rates[top:], reverse=True)
        assert 0 < rates[-1] < 0.02
        assert all(0 < recipe.schedule(step, 2) <= 1 for step in range(2))

    def test_defaults_follow_the_data(self, archive):
        data = open_data(archive)
        recipe = default_recipe(data)
        assert (recipe.network, recipe.epochs, recipe.batch) == ("allconv", 100, 6)
        assert not recipe.flip
        color = replace(data, train=LabeledImages(data.train.pixels.expand(-1, -1, -1, 3),
                                            data.train.classes))  # fmt: skip
        assert default_recipe(color).flip

    def test_checkpoints_start_at_the_start_and_end_at_the_end(self, archive):
        recipe = default_recipe(open_data(archive), checkpoints=5)
        assert recipe.checkpoint_steps(160) == [0, 10, 40, 90, 160]
