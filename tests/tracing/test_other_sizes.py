"""The second run of a trace is left out for images of another size, if nothing else changes."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

import convlens
from convlens.tracing import runs


class SequenceFirst(nn.Module):
    """Moves the images behind the positions, as recurrent networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.scores = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        positions = self.convolution(images).flatten(2).permute(2, 0, 1)
        return self.scores(positions).mean(0)


class Branching(nn.Module):
    """Pools large images only."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.scores = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        if maps.shape[-1] > 10:
            maps = nn.functional.max_pool2d(maps, 2)
        return self.scores(maps.mean((2, 3)))


@pytest.mark.parametrize(("network", "pairs"), [(SequenceFirst, 0), (Branching, 1)])
def test_the_second_run_is_left_out_only_for_the_same_operations(
    network: type[nn.Module], pairs: int
) -> None:
    model = convlens.wrap(network(), size=8)
    convlens.trace(model)
    original = runs._Runs.record_pair
    with patch.object(runs._Runs, "record_pair", autospec=True, side_effect=original) as pair:
        trace = convlens.trace(model, size=(20, 16))
    assert pair.call_count == pairs
    # A model without an earlier trace runs twice.
    fresh = convlens.trace(convlens.wrap(network(), size=(20, 16)))
    assert trace.batch.dims == fresh.batch.dims
    assert trace.batch.shapes == fresh.batch.shapes
    for node in trace.batch.dims:
        assert trace.batch.pair_shapes[node] == fresh.batch.pair_shapes[node]
    assert [trace.name(node) for node in trace.on_image] == [
        fresh.name(node) for node in fresh.on_image
    ]


def test_the_images_are_found_at_the_other_size() -> None:
    model = convlens.wrap(SequenceFirst(), size=8)
    convlens.trace(model)
    images = torch.rand(3, 3, 20, 16)
    cams = convlens.gradcam(model, images, classes=0)
    alone = convlens.gradcam(model, images[1:2], classes=0)
    torch.testing.assert_close(cams.maps[1:2], alone.maps)
