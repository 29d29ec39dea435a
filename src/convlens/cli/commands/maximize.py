"""What would excite it most."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def maximize(
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="LAYER:K", help="A channel; several times for several."),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="LAYER:K@Y,X", help="One of its units, by row and column."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME|INDEX",
            help="A class, or the difference of two: 'tabby - tiger cat'. A minus before any "
            "target asks for the least.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Of gradient ascent.")] = 128,
    seeds: Annotated[int, typer.Option(help="Images of each target, from other starts.")] = 1,
    objective: Annotated[o.Objective, typer.Option(help="Of classes.")] = o.Objective.logit,
    parameterization: Annotated[
        o.Parameterization, typer.Option(help="Of the image.")
    ] = o.Parameterization.fourier,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Pixels of the image. Default: as few as do."),
    ] = None,
    photo: Annotated[
        str | None, typer.Option(help="A photo to begin with, instead of faint noise.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What `convlens patches` wrote, to compare with."),
    ] = None,
    total_variation: Annotated[
        float, typer.Option(help="Weight of the differences of neighbors, subtracted.")
    ] = 0.0,
    l2: Annotated[float, typer.Option(help="Weight of the distance from gray, subtracted.")] = 0.0,
    out: o.Out = Path("convlens-maximize"),
    model: o.ModelSpec = "default",
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make images that excite channels, units or classes as much as can be."""
    from convlens.analyses.maximize.maximize import maximize as climb
    from convlens.analyses.patches.result import Patches
    from convlens.cli import terminal
    from convlens.cli.inputs import load_model, parse_size
    from convlens.cli.show import maximize as show
    from convlens.errors import ConvlensError
    from convlens.files import check_replaceable_folder
    from convlens.results import RESULT

    targets = [*(channel or []), *(unit or []), *(classes or [])]
    if not targets:
        raise ConvlensError("nothing to maximize; give --channel, --unit or --class")
    check_replaceable_folder(out, marker=RESULT)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    with terminal.progress(quiet=quiet) as progress:
        found = climb(
            loaded,
            targets,
            steps=steps,
            image_size=parse_size(image_size) if image_size is not None else None,
            seeds=seeds,
            seed=seed,
            objective=objective.value,
            parameterization=parameterization.value,
            start=loaded.prepare(photo) if photo is not None else None,
            total_variation=total_variation,
            l2=l2,
            known=Patches.load(known) if known is not None else None,
            progress=lambda done, total: progress("steps", done, total),
        )
    found.save(out)
    show.maximize(found, out, json=json)
    if found.interrupted:
        raise typer.Exit(130)  # as a program that an interrupt ended
