"""Parameterizations and transforms: gradients, inverses, single moves."""

import pytest
import torch

from convlens.analyses.maximize.parameterization import Parameterization
from convlens.analyses.maximize.transforms import Transforms
from support.maximized_networks import STILL


class TestGradients:
    @pytest.mark.parametrize("kind", ["pixels", "fourier"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_parameterization(self, kind, channels):
        parameterization = Parameterization(kind, channels, 5, 4, bounds=(-1.0, 2.0))
        parameters = parameterization.random_parameters(
            [torch.Generator().manual_seed(k) for k in range(2)], 9.0
        ).double()
        assert torch.autograd.gradcheck(parameterization.to_images, [parameters.requires_grad_()])

    def test_transforms(self):
        generators = [torch.Generator().manual_seed(k) for k in range(2)]
        transforms = Transforms(shift=1.5, rotation=20, scale=0.3)
        matrices = transforms.sample(generators, (6, 7))
        images = torch.rand(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: transforms.apply(x, matrices.double()), [images])

    @pytest.mark.parametrize("kind", ["pixels", "fourier"])
    def test_parameters_of_an_image_give_it_back(self, kind):
        images = 0.05 + 0.9 * torch.rand(2, 3, 9, 8)
        parameterization = Parameterization(kind, 3, 9, 8)
        torch.testing.assert_close(
            parameterization.to_images(parameterization.from_images(images)), images
        )

    def test_random_parameters_are_faint_gray_noise(self):
        for kind in ("pixels", "fourier"):
            drawn = Parameterization(kind, 3, 64, 64).random_parameters(
                [torch.Generator().manual_seed(0)]
            )
            images = Parameterization(kind, 3, 64, 64).to_images(drawn)
            assert abs(float(images.mean()) - 0.5) < 0.02
            assert 0.002 < float(images.std()) < 0.03


class TestTransforms:
    def test_a_shift_by_whole_pixels_is_a_shift(self):
        images = torch.rand(1, 2, 8, 10)
        matrices = torch.tensor([[[1.0, 0, 2 * 3 / 10], [0, 1, 2 * 2 / 8]]])
        moved = STILL.apply(images, matrices)
        torch.testing.assert_close(moved[..., :6, :7], images[..., 2:, 3:])

    def test_a_turn_keeps_right_angles_on_oblong_images(self):
        transforms = Transforms(rotation=90)
        matrices = transforms.sample([torch.Generator().manual_seed(0)], (8, 16))
        matrix = matrices[0, :, :2] * torch.tensor([[1.0, 16 / 8], [8 / 16, 1.0]])
        # In pixels the matrix is a rotation: orthogonal, of determinant one.
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(2))
        assert float(torch.linalg.det(matrix)) == pytest.approx(1)

    def test_each_image_is_moved_by_its_own_draws(self):
        def generators():
            return [torch.Generator().manual_seed(k) for k in (3, 4)]

        transforms = Transforms(2, 10, 0.2)
        both = transforms.sample(generators(), (8, 8))
        alone = transforms.sample(generators()[1:], (8, 8))
        assert torch.equal(both[1:], alone)
        assert not torch.equal(both[0], both[1])
