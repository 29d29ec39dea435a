"""Options that mean the same in every command."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Side(StrEnum):
    """Sides of a layer."""

    pre = "pre"
    post = "post"
    output = "output"


class ClassScore(StrEnum):
    """What is maximized of a class."""

    logit = "logit"
    probability = "probability"


class ParameterizationKind(StrEnum):
    """What gradient ascent changes: the frequencies of an image, or its pixels."""

    fourier = "fourier"
    pixels = "pixels"


class Engine(StrEnum):
    """What runs a pass over photos."""

    local = "local"
    ray = "ray"


_FORMS = ("default", "torchvision:", "timm:", "file:", "python:")


def _complete_model(incomplete: str) -> list[str]:
    return [form for form in _FORMS if form.startswith(incomplete)]


Photos = Annotated[
    list[str], typer.Argument(help="Photos: files, folders, globs, lists of paths (.txt).")
]
PhotosOrTables = Annotated[
    list[str],
    typer.Argument(
        help="Photos: files, folders, globs, lists of paths (.txt); or Parquet files.",
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="Of Parquet files: the column with the photos. Default: the one with bytes or paths.",
    ),
]
MaybePhotos = Annotated[
    list[str] | None,
    typer.Argument(
        help="Photos: files, folders, globs, lists of paths (.txt). Default: eight that come along."
    ),
]
ModelSpec = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="SPEC",
        help="default, torchvision:NAME[@WEIGHTS], timm:NAME, file:PATH@ARCHITECTURE, "
        "python:MODULE:FACTORY or the folder of a training; NAME@random has random weights.",
        autocompletion=_complete_model,
    ),
]
Layer = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="A layer, as `anatomy` names it.")
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
    str | None, typer.Option("--channel", metavar="LAYER:K", help="Channel K of a layer, from 0.")
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="NAME|INDEX",
        help="A class, or 'A - B' for the difference of two; may be given several times.",
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option(
        "--boxes",
        metavar="CSV",
        help="Objects: a file with the columns file, class, left, top, right and bottom, in "
        "pixels of the file.",
    ),
]
OneClass = Annotated[
    str | None,
    typer.Option(
        "--class",
        metavar="NAME|INDEX",
        help="Class to move away from. Default: the label, else the answer.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option("--target", metavar="NAME|INDEX", help="Class to move towards instead."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with a run of this command that was stopped.")
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="CSV", help="Right classes: a file with the columns file and class."
    ),
]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="N|HxW", help="Size of the images in pixels."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Numbers on standard output; progress on standard error.")
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Results only, no progress.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at a damaged photo instead of leaving it out.")
]

EngineName = Annotated[
    Engine,
    typer.Option("--engine", help="What runs the pass: this process, or Ray, on many machines."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="With --engine ray: a cluster that runs. Default: RAY_ADDRESS, else this machine.",
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(
        "--actors",
        help="With --engine ray: processes with the network, at most one for each CPU. Default: "
        "all that fit.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")]
