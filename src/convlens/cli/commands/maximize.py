"""The maximize command: images that maximize channels, units, classes or class differences."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=CHANNELS)
@with_arguments(ModelArguments)
def maximize(
    arguments: ModelArguments,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="LAYER:K", help="A channel; can be given several times."),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            metavar="LAYER:K@Y,X",
            help="A unit: a channel at one row and column; can be given several times.",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME|INDEX",
            help="A class, or the difference of two: 'tabby - tiger cat'; can be given several "
            "times. A minus in front of any channel, unit or class minimizes it.",
        ),
    ] = None,
    side: o.LayerSide = o.Side.post,
    steps: Annotated[int, typer.Option(min=1, help="Number of gradient ascent steps.")] = 128,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, help="Number of images for each objective, from different random starts."
        ),
    ] = 1,
    class_score: Annotated[
        o.ClassScore, typer.Option(help="What is maximized of a class.")
    ] = o.ClassScore.logit,
    parameterization: Annotated[
        o.ParameterizationKind,
        typer.Option(help="What gradient ascent changes: frequencies of the image, or pixels."),
    ] = o.ParameterizationKind.fourier,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|HxW",
            callback=checks.check_size,
            help="Size of the optimized image in pixels. Default: for channels twice the receptive "
            "field (64 to 160), for units what they see, for classes the model's size.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTO",
            callback=checks.check_photo,
            help="A photo to begin with, instead of faint noise.",
        ),
    ] = None,
    patches: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=checks.check_folder,
            help="Folder that `convlens patches` wrote: compares with the photos' activations.",
        ),
    ] = None,
    total_variation: Annotated[
        float,
        typer.Option(
            min=0, help="Weight of the differences of neighboring pixels, as a regularizer."
        ),
    ] = 0.0,
    l2: Annotated[
        float,
        typer.Option(min=0, help="Weight of the squared distance from gray, as a regularizer."),
    ] = 0.0,
    out: o.Out = Path("convlens-maximize"),
    overwrite: o.Overwrite = False,
) -> None:
    """Make images that maximize channels, units or classes, by gradient ascent."""
    from convlens.cli import terminal
    from convlens.cli.class_words import check_class_words
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder
    from convlens.cli.parsing import parse_size
    from convlens.errors import ConvlensError

    objectives = [*(channel or []), *(unit or []), *(classes or [])]
    if not objectives:
        raise ConvlensError("nothing to maximize; give --channel, --unit or --class")
    for option, form, texts in (
        ("--channel", "LAYER:K", channel),
        ("--unit", "LAYER:K@Y,X", unit),
    ):
        for text in texts or []:
            if ":" not in text:  # the number alone would be taken for a class
                raise ConvlensError(
                    f"{option} {text} names no layer; give {form}, or --class {text} for a class"
                )
    check_class_words(arguments, [text.removeprefix("-") for text in classes or ()])
    with output_folder(out):
        from convlens.analyses.maximize.maximize import maximize  # imports torch
        from convlens.cli.show.maximize import show_maximized_images

        loaded = load_model(arguments)
        with terminal.progress(quiet=arguments.quiet) as progress:
            result = maximize(
                loaded,
                objectives,
                side=side.value,
                steps=steps,
                image_size=parse_size(image_size) if image_size is not None else None,
                seeds=seeds,
                seed=arguments.seed,
                class_score=class_score.value,
                parameterization=parameterization.value,
                start=start,
                total_variation=total_variation,
                l2=l2,
                patches=patches,
                progress=lambda done, total: progress("steps", done, total),
            )
        result.save(out, command=command_line())
    show_maximized_images(result, out, json=arguments.json)
    if result.interrupted:
        raise typer.Exit(130)  # the exit status of a program that an interrupt ended
