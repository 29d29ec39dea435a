"""RunWriter: writes the run folder while a training runs, and at its end."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convlens.drawing.figure_files import write_figure
from convlens.models.loading.run_folder import CURVES
from convlens.models.model import Model
from convlens.training.checkpoints import save_checkpoint
from convlens.training.data import Dataset
from convlens.training.description import describe_run
from convlens.training.example_photos import write_example_photos
from convlens.training.logs import write_csv, write_tensorboard
from convlens.training.loop import TrainingState, total_steps
from convlens.training.recipe import Recipe
from convlens.training.result import Training, summarize_training
from convlens.training.run_index import write_run_index


@dataclass(frozen=True)
class RunWriter:
    """Writes the run folder in the first process; in the others it writes nothing.

    Attributes:
        folder: the run folder.
        data: the labeled images.
        recipe: the settings of the training.
        model: the model that is trained.
        optimizer: its optimizer.
        state: the state of the training.
        log: format of the log.
        is_first: whether this is the first process.
    """

    folder: Path
    data: Dataset
    recipe: Recipe
    model: Model
    optimizer: torch.optim.SGD
    state: TrainingState
    log: str
    is_first: bool

    def describe(self) -> dict[str, Any]:
        """The content of `convlens.json` in the present state."""
        steps = total_steps(self.data, self.recipe)
        return describe_run(self.data, self.recipe, self.model, self.state, steps)

    def save_checkpoint(self) -> None:
        """Write a checkpoint, and the description that names it."""
        if self.is_first:
            network = self.model.network
            momentum = _momentum_buffers(network, self.optimizer)
            save_checkpoint(self.folder, self.describe(), network.state_dict(), momentum)

    def write_log(self) -> None:
        """Write the history up to now."""
        if self.is_first and self.state.history:
            write_csv(self.folder, self.state.history)
            if self.log == "tensorboard":
                write_tensorboard(self.folder, self.state.history[-1])

    def finish(self) -> Training:
        """Write what people read, and return the result."""
        training = summarize_training(str(self.folder), self.describe())
        if self.is_first:
            write_figure(training.figure(), self.folder / CURVES)
            write_example_photos(self.folder, self.data)
            write_run_index(self.folder, training)
        return training


def _momentum_buffers(network: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The optimizer's momentum by the name of the parameter."""
    return {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in network.named_parameters()
        if optimizer.state[parameter].get("momentum_buffer") is not None
    }
