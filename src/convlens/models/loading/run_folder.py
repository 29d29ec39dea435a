"""Run folders: what a training writes, and the Model that it trained.

    RUN/convlens.json                network, preprocessing, and names of the checkpoints
    RUN/step-000469/weights.safetensors   a checkpoint; complete if the JSON names it

Nothing is pickled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, describe_error, suggest
from convlens.models.loading.run_description import find_damage
from convlens.models.loading.specs import DESCRIPTION, WEIGHTS
from convlens.models.loading.weights.fitting import load_weights
from convlens.models.loading.weights.weight_files import read_weight_file
from convlens.models.model import Model
from convlens.models.networks.build import build
from convlens.models.networks.convnet import ConvNet, feature_map_sizes

CURVES = "curves.png"  # loss and accuracy by epoch
FORMAT = 3  # of the folder; raised when an older version could not read it

_AVERAGE = "average"
_HUGE = 2**30  # bytes of weights


@dataclass(frozen=True)
class Run:
    """A run folder and its description.

    Attributes:
        folder: path of the folder.
        description: content of `convlens.json`.
    """

    folder: Path
    description: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that it was trained on, in pixels."""
        height, width = self.description["network"]["size"]
        return height, width

    def folder_of(self, checkpoint: str) -> str:
        """The folder name of a checkpoint that is called `best`, `last` or by its folder.

        Raises:
            ConvlensError: there is none.
        """
        checkpoints = self.description["checkpoints"]
        folders = {"best": checkpoints["best"], "last": checkpoints["last"]}
        folders |= {name: name for name in (*folders.values(), *checkpoints["scheduled"])}
        if checkpoint not in folders:
            raise ConvlensError(
                f"{self.folder} holds no checkpoint {checkpoint!r}{suggest(checkpoint, folders)}; "
                f"there are {', '.join(folders)}"
            )
        return folders[checkpoint]

    def checkpoints(self) -> list[tuple[int, str]]:
        """Training step and folder name of the checkpoints saved along the way, in order.

        Raises:
            ConvlensError: there are none.
        """
        names = self.description["checkpoints"]["scheduled"]
        if not names:
            raise ConvlensError(
                f"{self.folder} holds no checkpoints; train with --checkpoints 5 to have some"
            )
        return [(int(name.rpartition("-")[2]), name) for name in names]


def read_run_folder(folder: Path) -> Run:
    """Read the description of a run folder.

    Args:
        folder: path of the folder.

    Raises:
        ConvlensError: the description is missing, damaged or of another version.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConvlensError(
            f"{folder} holds no convlens checkpoint: there is no {DESCRIPTION} in it"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConvlensError(f"{path} cannot be read ({describe_error(error)})") from error
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ConvlensError(f"{path} is not the description of a training; give another folder")
    if version < FORMAT:
        raise ConvlensError(
            f"{folder} was trained by an earlier version of convlens, which this one does not "
            f"read; train again"
        )
    if version > FORMAT:
        raise ConvlensError(f"{folder} was trained by a newer convlens; update this one")
    if damage := find_damage(content):
        raise ConvlensError(f"{path} is damaged: {damage}; restore the file, or train again")
    return Run(folder, content)


def run_model(folder: Path, tag: str, size: tuple[int, int] | None = None) -> Model:
    """The trained network with its preprocessing, bounds and labels, on the CPU.

    Args:
        folder: a run folder.
        tag: `best` (also if empty), `last` or the name of a checkpoint; and `average`, also after
            an @, for average pooling to the trained grid before a fully connected stage.
        size: height and width of the images that the network will be given, in pixels; default:
            those that it was trained on.

    Raises:
        ConvlensError: no such checkpoint, a damaged folder, or a fully connected stage that does
            not fit images of that size.
    """
    run = read_run_folder(folder)
    tags = [word for word in tag.split("@") if word]
    average = _AVERAGE in tags
    checkpoints = [word for word in tags if word != _AVERAGE]
    if len(checkpoints) > 1:
        raise ConvlensError(f"{folder}@{tag} names {len(checkpoints)} checkpoints; give one")
    name = checkpoints[0] if checkpoints else "best"
    checkpoint = run.folder_of(name)
    try:
        return _build_model(run, checkpoint, name, average=average, size=size)
    except (KeyError, TypeError, ValueError) as error:
        raise ConvlensError(
            f"{folder / DESCRIPTION} is damaged ({type(error).__name__}: {error})"
        ) from error


def _build_model(
    run: Run, checkpoint: str, checkpoint_name: str, *, average: bool, size: tuple[int, int] | None
) -> Model:
    description = run.description
    options = dict(description["network"])
    path = run.folder / checkpoint / WEIGHTS
    _check_parameters(run, options, path)
    network = build(**{**options, "average": True} if average else options)
    if size is not None and isinstance(network.avgpool, nn.Identity):
        _check_stage(run, network, options, size)
    if load_weights(network, read_weight_file(path)).classes:
        raise ConvlensError(
            f"{path} holds another number of classes than {DESCRIPTION} names; train again"
        )
    preprocessing = description["preprocessing"]
    return Model(
        network=network,
        name=f"{options['name']} of {run.folder.resolve().name}",
        preprocessing=Preprocessing(
            size=tuple(preprocessing["size"]),
            resize=preprocessing["resize"],
            interpolation=preprocessing["interpolation"],
        ),
        channels=options["channels"],
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
        bounds=tuple(preprocessing["bounds"]),
        labels=tuple(description["labels"]),
        center=preprocessing["center"],
        origin=f"trained by convlens on {description['training']['data']}: the {checkpoint_name} "
        f"checkpoint, of step {int(checkpoint.rpartition('-')[2]):,}",
    )


def _check_parameters(run: Run, options: dict[str, Any], weights: Path) -> None:
    """Check that a huge network is not larger than the file of its weights, before it is built.

    Raises:
        ConvlensError: it is; or the file does not exist.
    """
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build(**options).parameters())
    if not weights.is_file():
        raise ConvlensError(f"there is no file {weights}, which {DESCRIPTION} names")
    size = parameters * torch.float32.itemsize
    if size > max(_HUGE, weights.stat().st_size):
        raise ConvlensError(
            f"{run.folder / DESCRIPTION} is damaged: its network has {parameters:,} parameters, "
            f"which are more than {weights} holds; restore the file, or train again"
        )


def _check_stage(
    run: Run, network: ConvNet, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Check that the fully connected stage fits images of a size.

    Raises:
        ConvlensError: it does not; the message names the stage and the option that makes it fit.
    """
    trained_grid, grid = (
        feature_map_sizes(network.features, image_size)[-1][1] for image_size in (run.size, size)
    )
    if trained_grid == grid:
        return
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Linear))
    stage = network.get_submodule(first)
    assert isinstance(stage, nn.Linear)
    channels, height, width = options["channels"], *size
    raise ConvlensError(
        f"{run.folder} was trained on {run.size[0]} x {run.size[1]} pixels: the fully connected "
        f"stage {first} takes {stage.in_features:,} values and fits no image of {channels} x "
        f"{height} x {width}; {run.folder}@average pools to its grid before it"
    )
