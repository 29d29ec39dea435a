"""Receptive fields where bounds repeat differently, and where indices do not fit a crop."""

import torch
from torch import nn

import convlens
from support.field_networks import captured


class Picked(nn.Module):
    """Every second column, by a list of indices that only fits whole images."""

    def __init__(self, pick):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pick = pick
        self.after = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.after(self.pick(self.conv(x))).mean((2, 3))


COLUMNS = torch.arange(0, 12, 2)
PICKS = {
    "index": lambda x: x[:, :, :, COLUMNS],
    "two indices": lambda x: x[:, :, torch.arange(12)[:, None], COLUMNS],
    "index_select": lambda x: x.index_select(3, COLUMNS),
    "gather": lambda x: x.gather(3, COLUMNS.view(1, 1, 1, -1).expand(*x.shape[:3], -1)),
}


def test_patches_after_indices_that_do_not_fit_a_crop():
    images = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    for pick in PICKS.values():
        torch.manual_seed(0)
        network = Picked(pick).eval()
        result = convlens.patches(
            convlens.wrap(network, size=12), images, layers=["after"], top=2, show=2
        )["after"]
        maps = captured(network, "after", images)
        right = maps.amax((2, 3)).topk(2, dim=0).values.T
        torch.testing.assert_close(result.values, right)
        assert result.field_size == (3, 3)
        assert result.crop_check.holds


class Stacked(nn.Module):
    """The mean of two maps: one sees rows from the first one on, the other sees the last ones."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 3, batch_first=True)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        height, width = x.shape[2:]
        rows = x.permute(0, 3, 2, 1).reshape(-1, height, 3)
        seen = self.rnn(rows)[0].reshape(-1, width, height, 3).permute(0, 3, 2, 1)
        return torch.stack([self.conv(seen), seen]).mean(0)


def test_the_mean_of_a_stack_has_the_field_of_both_maps():
    torch.manual_seed(0)
    trace = convlens.trace(convlens.wrap(Stacked(), size=8))
    shape = trace.shape(trace.logits)
    assert shape == (1, 3, 8, 8)
    field = trace.field(trace.logits)
    assert field is not None
    assert field.size[1] == 3
