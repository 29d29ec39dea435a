"""A Grad-CAM worked by hand, and the cascade of randomized layers."""

import torch
from torch import Tensor, nn

import convlens
from benchmarks.reproductions.published_figure import Outcome, PublishedFigure, judge
from convlens.models.loading.demo_photos import demo_photos

# Rank correlation below which maps of a randomized network no longer resemble the original ones.
_UNRELATED = 0.3


def reproductions() -> list[PublishedFigure]:
    """The figures, in the order of the table."""
    return [
        PublishedFigure(
            "Grad-CAM of a network worked by hand, second layer", "[[0, 4], [28, 32.5]]",
            "captum, tests of LayerGradCam", _work_by_hand,
        ),
        PublishedFigure(
            "Grad-CAM after all layers are randomized", "unrelated to the original map",
            "Adebayo et al., Sanity Checks for Saliency Maps, 2018", _randomize,
        ),
    ]  # fmt: skip


class _OneConvolution(nn.Module):
    """The network of captum's test."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 2, 3), nn.ReLU()
        self.fc1, self.relu2 = nn.Linear(8, 4), nn.ReLU()
        with torch.no_grad():
            self.conv1.weight.fill_(1)
            self.conv1.bias = nn.Parameter(torch.tensor([-50.0, -75.0]))
            self.fc1.weight.copy_(torch.cat([torch.ones(4, 5), -torch.ones(4, 3)], 1))
            self.fc1.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu1(self.conv1(images)).view(-1, 8)
        logits: Tensor = self.relu2(self.fc1(hidden))
        return logits


def _work_by_hand() -> Outcome:
    model = convlens.wrap(_OneConvolution(), size=4, bounds=(0, 15))
    image = torch.arange(16.0).view(1, 1, 4, 4)
    maps = convlens.gradcam(model, image, classes=0, layer="relu1", side="output").maps[0, 0]
    ours = str([[float(f"{value:g}") for value in row] for row in maps.tolist()])
    return judge(ours.replace(".0", ""), maps.tolist() == [[0.0, 4.0], [28.0, 32.5]])


def _randomize() -> Outcome:
    model = convlens.load()
    images = model.prepare([photo.path for photo in demo_photos()[:4]])
    means = convlens.randomization(model, images).means
    return judge(
        f"rank correlation {means[0]:.2f} after the logits, {means[-1]:.2f} after all layers",
        abs(means[-1]) < _UNRELATED,
    )
