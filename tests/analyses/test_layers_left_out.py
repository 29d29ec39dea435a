"""Layers that an analysis leaves out are named with the reason."""

import pytest
import torch
from torch import nn

import convlens
from convlens.cli import terminal
from convlens.cli.show.dream import show_dream
from convlens.cli.show.shift import show_shift
from support.public_functions import images


class Gated(nn.Module):
    """A convolution on one position for each image (squeeze and excitation) between two others."""

    def __init__(self):
        super().__init__()
        self.first, self.gate = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.last, self.fc = nn.Conv2d(4, 6, 3), nn.Linear(6, 5)

    def forward(self, x):
        x = self.first(x).relu()
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.fc(self.last(x).relu().mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return convlens.wrap(Gated().eval(), size=24)


REASON = "gate: a single position, no map"


def test_shift_names_them(model, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(terminal, "show", lambda *parts: lines.extend(map(str, parts)))
    measured = convlens.shift(model, images(), shifts=[1], every=0)
    assert measured.equivariance.left_out == (REASON,)
    assert convlens.equivariance(model, images(), shifts=[1]).left_out == (REASON,)
    show_shift(measured, tmp_path, json=False)
    assert f"left out: {REASON}" in lines


def test_dream_names_them_where_no_layer_is_given(model, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(terminal, "show", lambda *parts: lines.extend(map(str, parts)))
    dream = convlens.dream(model, images(1), octaves=1, steps=1)
    assert dream.left_out == (REASON,)
    show_dream(dream, tmp_path, json=False)
    assert f"left out: {REASON}" in lines
    assert convlens.dream(model, images(1), layer="first", octaves=1, steps=1).left_out == ()
