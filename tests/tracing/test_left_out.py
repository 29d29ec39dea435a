"""Convolutions without maps are named with the reason."""

import torch
from torch import nn

import convlens
from convlens.cli.show.patches import show_patches
from convlens.tracing.left_out import find_left_out


class Squeeze(nn.Module):
    """A gate from the pooled map, and a branch behind an operation without a rule."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.gates = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(4))
        self.spectrum = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x).relu()
        for gate in self.gates:
            x = x * gate(x.mean((2, 3), keepdim=True)).sigmoid()
        spectrum = self.spectrum(torch.fft.fft2(x).abs()).relu()
        return self.fc((x + spectrum).mean((2, 3)))


def test_convolutions_without_maps_are_named_with_the_reason(tmp_path, capsys):
    model = convlens.wrap(Squeeze().eval(), size=8)
    by_position, by_rule = find_left_out(convlens.trace(model))
    assert by_position.layers == ("gates.0", "gates.1", "gates.2", "gates.3")
    assert str(by_position) == "gates.0, gates.1, gates.2 and 1 more: a single position, no map"
    assert by_rule.layers == ("spectrum",) and "_fft" in by_rule.reason

    images = torch.rand(2, 3, 8, 8)
    result = convlens.patches(model, images, top=1, show=1)
    assert [layer.layer for layer in result.layers] == ["stem"]
    assert result.left_out == (str(by_position), str(by_rule))
    assert convlens.effective_field(model, images).left_out == result.left_out
    assert convlens.patches(model, images, layers=["stem"], top=1, show=1).left_out == ()
    show_patches(result, tmp_path, json=False)
    assert "left out: gates.0" in capsys.readouterr().out
