"""The options that several commands share. Each has one meaning, one name and one help text."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli.output_check import check_out


class Side(StrEnum):
    """The side of a layer whose tensor is read."""

    pre = "pre"
    post = "post"
    output = "output"


class ClassScore(StrEnum):
    """The score of a class that is maximized."""

    logit = "logit"
    probability = "probability"


class ParameterizationKind(StrEnum):
    """What gradient ascent changes: the frequencies of an image, or its pixels."""

    fourier = "fourier"
    pixels = "pixels"


class Loss(StrEnum):
    """The loss that an attack increases."""

    cross_entropy = "cross-entropy"
    margin = "margin"


class Pooling(StrEnum):
    """The pooling that is applied to feature maps."""

    max = "max"
    average = "average"


class NetworkPooling(StrEnum):
    """The pooling layers of a network that is trained."""

    max = "max"
    average = "average"
    blur = "blur"


class TrainingDevice(StrEnum):
    """The kind of device that a network is trained on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Strategy(StrEnum):
    """How several devices share a training."""

    auto = "auto"
    ddp = "ddp"


class LogFormat(StrEnum):
    """The form of the history of a training."""

    csv = "csv"
    tensorboard = "tensorboard"


class Center(StrEnum):
    """The mean that is subtracted from an image: of all images, or its own."""

    data = "data"
    image = "image"


class EngineKind(StrEnum):
    """The engine that runs a pass over photos."""

    local = "local"
    ray = "ray"


_LARGEST_SEED = 2**62  # torch takes none above 2**63, and some seeds are counted up
_FORMS = ("default", "torchvision:", "timm:", "file:", "python:")


def _complete_model(incomplete: str) -> list[str]:
    return [form for form in _FORMS if form.startswith(incomplete)]


Photos = Annotated[
    list[str],
    typer.Argument(help="Photos: files, folders, glob patterns or lists of paths (.txt)."),
]
PhotosOrTables = Annotated[
    list[str],
    typer.Argument(
        help="Photos: files, folders, glob patterns or lists of paths (.txt); or Parquet files.",
    ),
]
Photo = Annotated[str, typer.Argument(help="A photo.", callback=checks.check_photo)]
Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="Column of the Parquet files that holds the photos. Default: the only column with "
        "encoded photos or paths.",
    ),
]
MaybePhotos = Annotated[
    list[str] | None,
    typer.Argument(
        help="Photos: files, folders, glob patterns or lists of paths (.txt). Default: the eight "
        "demonstration photos; validation images for a network that convlens trained."
    ),
]
_SPEC_FORMS = (
    "default; NAME, torchvision:NAME[@WEIGHTS] or timm:NAME, with @random for random weights; a "
    "weight file, or FILE@ARCHITECTURE; FILE.py:FUNCTION; or the folder of a training."
)
ModelSpec = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="SPEC",
        help=f"Network: {_SPEC_FORMS}",
        callback=checks.check_model,
        autocompletion=_complete_model,
    ),
]
FirstModel = Annotated[
    str,
    typer.Argument(
        metavar="FIRST",
        help=f"The first network, such as the one before a change: {_SPEC_FORMS}",
        callback=checks.check_model,
        autocompletion=_complete_model,
    ),
]
SecondModel = Annotated[
    str,
    typer.Argument(
        metavar="SECOND",
        help="The second network, in the same way.",
        callback=checks.check_model,
        autocompletion=_complete_model,
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        "--class-names",
        metavar="FILE",
        callback=checks.check_class_names,
        help="Names of the classes: a text file with one name a line, or JSON. Default: those of "
        "the weights.",
    ),
]
Layer = Annotated[
    str | None,
    typer.Option("--layer", metavar="NAME", help="A layer by the name that `anatomy` lists."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME",
        help="A layer by the name that `anatomy` lists; can be given several times. Default: all "
        "convolutions.",
    ),
]
LayerSide = Annotated[
    Side,
    typer.Option(
        "--side",
        help="Side of the layer: what its non-linearity consumes (pre) or returns (post), or what "
        "the layer itself returns (output).",
    ),
]
Channel = Annotated[
    str | None,
    typer.Option("--channel", metavar="LAYER:K", help="Channel K of a layer, from 0."),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="NAME|INDEX",
        help="Class to explain, by name or index, or 'A - B' for the difference of two classes. "
        "Can be given several times.",
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option(
        "--boxes",
        metavar="CSV",
        callback=checks.check_file,
        help="Boxes around objects: a CSV file with the columns file, class, left, top, right and "
        "bottom, in pixels of the photo.",
    ),
]
OneClass = Annotated[
    str | None,
    typer.Option(
        "--class",
        metavar="NAME|INDEX",
        help="Class to move away from. Default: the label of the photo, or the prediction if it "
        "has none.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="NAME|INDEX", help="Class to move towards, instead of away from one."
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", is_eager=True, help="Continue a run of this command that was stopped."
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="CSV",
        callback=checks.check_file,
        help="Labels of the photos: a CSV file with the columns file and class.",
    ),
]
LabelsOrFolders = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="CSV",
        callback=checks.check_file,
        help="The right classes: a file with the columns file and class. Default: the names of the "
        "photos' folders.",
    ),
]
NoLabels = Annotated[
    bool,
    typer.Option(
        "--no-labels",
        help="Use no labels. Without this and --labels, the names of the photos' folders are "
        "labels where they are names of classes.",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="N|HxW",
        callback=checks.check_size,
        help="Size of the images in pixels, height x width. Default: the size of the network.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON on standard output.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        callback=checks.check_device,
        help="Device: cpu, cuda, cuda:1 or mps. Default: cpu.",
    ),
]


def _check_seed(seed: int) -> int:
    if abs(seed) > _LARGEST_SEED:
        raise typer.BadParameter(f"{seed} is no seed; give a number of at most {_LARGEST_SEED}")
    return seed


Seed = Annotated[
    int, typer.Option("--seed", callback=_check_seed, help="Seed of all random numbers.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print results only, no progress.")]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Stop at the first photo that cannot be read, instead of skipping it."
    ),
]

EngineName = Annotated[
    EngineKind,
    typer.Option(
        "--engine",
        help="Engine of the pass: local (this process) or ray (several processes or machines).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Address of a cluster, with --engine ray. Default: RAY_ADDRESS, else this machine.",
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(
        "--actors",
        min=1,
        help="Number of processes that hold the network, with --engine ray; at most one for each "
        "CPU. Default: as many as fit.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        callback=check_out,
        help="Folder that the results are written to.",
    ),
]
OptionalOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        callback=check_out,
        help="Also write the results to this folder. Default: they are only printed.",
    ),
]
# Every command with --out has it; the check of --out reads its value.
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", is_eager=True, help="Replace the earlier results that --out holds."
    ),
]
Kernel = Annotated[int, typer.Option(min=1, help="Length of the filter's sides.")]
Stride = Annotated[int, typer.Option(min=1, help="Steps of the filter.")]
Padding = Annotated[
    str,
    typer.Option(
        metavar="P",
        callback=checks.check_padding,
        help="Zeros on each side: a number of pixels, valid for none, or same.",
    ),
]
