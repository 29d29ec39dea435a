"""What a run folder says about itself: a pure function of data, recipe and state."""

from typing import Any

from convlens.errors import ConvlensError
from convlens.models.loading.run_folder import FORMAT, Run
from convlens.models.model import Model
from convlens.models.networks.build import build
from convlens.training.center import mean_and_deviation
from convlens.training.data import Dataset
from convlens.training.folder import checkpoint_name
from convlens.training.loop import State
from convlens.training.recipe import Recipe


def new_model(data: Dataset, recipe: Recipe) -> Model:
    """The network that the recipe names for this data, untrained, and how it is fed."""
    mean, std = mean_and_deviation(data.train, recipe.center)
    return Model(
        network=build(**_network(data, recipe)),
        name=recipe.network,
        preprocessing=data.preprocessing,
        channels=data.channels,
        mean=mean,
        std=std,
        labels=data.labels,
        center=recipe.center,
    )


def describe(
    data: Dataset, recipe: Recipe, model: Model, state: State, steps: int
) -> dict[str, Any]:
    """The content of `convlens.json`.

    Args:
        data: what is trained on.
        recipe: what is asked for.
        model: from `new_model`.
        state: where the training is.
        steps: at which step it ends.
    """
    return {
        "format": FORMAT,
        "network": _network(data, recipe),
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
            "recipe": recipe.to_json(),
        },
        "progress": {
            "step": state.step,
            "steps": steps,
            "loss": state.loss,
            "history": state.history,
        },
        "checkpoints": {
            "last": checkpoint_name(state.step),
            "best": checkpoint_name(best(state)),
            "scheduled": [
                checkpoint_name(step)
                for step in recipe.checkpoint_steps(steps)
                if step <= state.step
            ],
        },
    }


def best(state: State) -> int:
    """After which step the validation accuracy was highest, the latest where several are equal.

    Before any was taken, the last one.
    """
    if not state.history:
        return state.step
    chosen = max(state.history, key=lambda row: (row["validation_accuracy"], row["step"]))
    return int(chosen["step"])


def compare(found: Run, description: dict[str, Any]) -> None:
    """Raise ConvlensError where the run in the folder was started with other data or choices."""
    wanted, there = description["training"], found.description["training"]
    if wanted["fingerprint"] != there["fingerprint"]:
        raise ConvlensError(
            f"{found.folder} holds a training on {there['data']} with other images or labels than "
            f"{wanted['data']} has now; give another --out"
        )
    for name, now in wanted["recipe"].items():
        before = there["recipe"].get(name)
        if now != before:
            raise ConvlensError(
                f"{found.folder} holds a training with {name.replace('_', ' ')} {before}, now "
                f"{now}; give the same to go on with it, or another --out"
            )


def state_of(found: Run) -> State:
    """Where the training in a run folder was."""
    done = found.description["progress"]
    return State(done["step"], done["loss"], list(done["history"]))


def _network(data: Dataset, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.network,
        "size": list(data.size),
        "channels": data.channels,
        "classes": len(data.labels),
        "pooling": recipe.pooling,
    }
