"""The description of a run folder (`convlens.json`), as a function of data, recipe and state."""

from typing import Any

import torch

from convlens.errors import ConvlensError
from convlens.models.loading.run_folder import FORMAT, Run
from convlens.models.model import Model
from convlens.models.networks.build import build
from convlens.runtime.precision import float32_networks
from convlens.training.checkpoints import checkpoint_name
from convlens.training.data import Dataset
from convlens.training.loop import TrainingState
from convlens.training.normalization import mean_and_std
from convlens.training.recipe import Recipe


def build_model(data: Dataset, recipe: Recipe) -> Model:
    """The untrained network that the recipe names, with preprocessing and normalization."""
    mean, std = mean_and_std(data.train, recipe.center)
    with float32_networks():
        network = build(**_network_options(data, recipe))
    return Model(
        network=network,
        name=recipe.network,
        preprocessing=data.preprocessing,
        channels=data.channels,
        mean=mean,
        std=std,
        labels=data.labels,
        center=recipe.center,
    )


def describe_run(
    data: Dataset, recipe: Recipe, model: Model, state: TrainingState, steps: int
) -> dict[str, Any]:
    """The content of `convlens.json`.

    Args:
        data: the labeled images.
        recipe: the settings of the training.
        model: the model that `build_model` returns.
        state: the steps done and the history.
        steps: the number of steps of the complete training.

    Returns:
        A dictionary that can be written as JSON.
    """
    return {
        "format": FORMAT,
        "network": _network_options(data, recipe),
        "preprocessing": {
            "size": list(model.preprocessing.size),
            "resize": model.preprocessing.resize,
            "interpolation": model.preprocessing.interpolation,
            "center": model.center,
            "mean": list(model.mean),
            "std": list(model.std),
            "bounds": list(model.bounds),
        },
        "labels": list(data.labels),
        "training": {
            "data": data.name,
            "fingerprint": data.fingerprint,
            "images": len(data.train),
            "validated": len(data.validation),
            "held_out": data.held_out,
            "validation_share": data.validation_share,
            "skipped": [photo.reason for photo in data.skipped],
            "class_images": torch.bincount(
                data.validation.classes, minlength=len(data.labels)
            ).tolist(),
            "recipe": recipe.to_json(),
        },
        "progress": {
            "step": state.step,
            "steps": steps,
            "loss": state.loss,
            "history": state.history,
            "class_correct": state.class_correct,
            "best_class_correct": state.best_class_correct,
        },
        "checkpoints": {
            "last": checkpoint_name(state.step),
            "best": checkpoint_name(best_step(state)),
            "scheduled": [
                checkpoint_name(step)
                for step in recipe.checkpoint_steps(steps)
                if step <= state.step
            ],
        },
    }


def best_step(state: TrainingState) -> int:
    """The step with the highest validation accuracy; the latest of several equal ones.

    Before the first epoch has ended, it is the current step.
    """
    if not state.history:
        return state.step
    best_row = max(state.history, key=lambda row: (row["validation_accuracy"], row["step"]))
    return int(best_row["step"])


def check_same_training(run: Run, description: dict[str, Any]) -> None:
    """Raise ConvlensError if the run in the folder was started with other data or settings."""
    current, saved = description["training"], run.description["training"]
    if current["fingerprint"] != saved["fingerprint"]:
        raise ConvlensError(
            f"{run.folder} holds a training on {saved['data']} with other images or labels than "
            f"{current['data']} has now; give another --out"
        )
    for name, value in current["recipe"].items():
        saved_value = saved["recipe"].get(name)
        if value != saved_value:
            raise ConvlensError(
                f"{run.folder} holds a training with {name.replace('_', ' ')} {saved_value}, now "
                f"{value}; give the same to go on with it, or another --out"
            )


def read_state(run: Run) -> TrainingState:
    """The state that a run folder was saved with."""
    progress = run.description["progress"]
    return TrainingState(
        progress["step"],
        progress["loss"],
        list(progress["history"]),
        list(progress["class_correct"]),
        list(progress["best_class_correct"]),
    )


def _network_options(data: Dataset, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.network,
        "size": list(data.size),
        "channels": data.channels,
        "classes": len(data.labels),
        "pooling": recipe.pooling,
    }
