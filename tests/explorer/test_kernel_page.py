"""The kernel page: the numbers on screen are those of the network."""

import html

import torch
import torch.nn.functional as F

import convlens
from support.explorers import data_values

pytest_plugins = ("support.explorers",)


def test_the_sum_is_that_of_the_network(explorer):
    model, path = explorer.session.model, explorer.paths[0]
    key = next(photo.key for photo in explorer.session.photos if photo.path == path)
    conv = model.network[0]
    image = model.normalize(model.prepare(path))
    output = F.conv2d(image, conv.weight, conv.bias, stride=2, padding=1)[0, 2, 3, 5].item()
    text = explorer.get(f"/kernel/0/2?photo={key}&at=3,5")
    values = data_values(text)
    assert min(abs(value - output) for value in values) < 1e-5
    # Nine cells of patch, kernel and products of each of three colors, and the sum of each.
    patch = F.pad(image, (1, 1, 1, 1))[0, :, 6:9, 10:13]
    expected = [patch, conv.weight[2], patch * conv.weight[2]]
    shown = torch.tensor(values[: 3 * 28]).view(3, 28)
    for part, numbers in enumerate(expected):
        torch.testing.assert_close(shown[:, part * 9 : part * 9 + 9], numbers.detach().flatten(1))
    unit = convlens.feature_detector(model, path, "0:2@3,5")
    assert unit.summary() in html.unescape(text)
    assert "convlens.feature_detector(model" in html.unescape(text)
