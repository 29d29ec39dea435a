"""The optimizer's momentum in a run folder: whole, of the same network, or refused."""

import pytest
import torch
from safetensors.torch import save_file

from convlens.errors import ConvlensError
from convlens.models.loading.run_folder import Run
from convlens.training.checkpoints import OPTIMIZER, read_optimizer_state

SHAPES = {"conv.weight": torch.Size([4, 3]), "conv.bias": torch.Size([4])}
MOMENTUM = {name: torch.ones(shape) for name, shape in SHAPES.items()}


def read(folder, momentum):
    (folder / "step-0000008").mkdir()
    save_file(momentum, folder / "step-0000008" / OPTIMIZER)
    return read_optimizer_state(Run(folder, {"checkpoints": {"last": "step-0000008"}}), SHAPES)


def test_momentum_of_every_parameter_or_of_none(tmp_path):
    for number, momentum in enumerate((MOMENTUM, {})):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert read(folder, momentum).keys() == momentum.keys()


@pytest.mark.parametrize(
    "momentum",
    [
        {"other": torch.ones(4)},
        MOMENTUM | {"conv.bias": torch.ones(3)},
        {"conv.bias": torch.ones(4)},
    ],
)
def test_momentum_of_another_network(momentum, tmp_path):
    with pytest.raises(ConvlensError, match="is not of the network of this training"):
        read(tmp_path, momentum)
