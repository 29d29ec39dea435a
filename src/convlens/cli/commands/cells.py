"""What the cells of a layer, or of the cortex, answer."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def tuning(
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.post,
    orientations: Annotated[int, typer.Option(help="How many, over 180 degrees.")] = 12,
    phases: Annotated[int, typer.Option(help="Steps of the drift.")] = 16,
    out: o.Out = Path("convlens-tuning"),
    model: o.ModelSpec = "default",
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Ask what gratings make each channel fire, and which are simple or complex."""
    from convlens.analyses.orientation_tuning.orientation_tuning import orientation_tuning as record
    from convlens.cli import terminal
    from convlens.cli.inputs import load_model
    from convlens.cli.show import cells as show

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    with terminal.progress(quiet=quiet) as progress:
        found = record(
            loaded,
            layer=layer,
            side=side.value,
            orientations=orientations,
            phases=phases,
            progress=lambda done, total: progress("gratings", done, total),
        )
    found.save(out)
    show.tuning(found, out, json=json)


@app.command()
def cortex(
    photo: Annotated[str, typer.Argument(help="A photo.")],
    orientations: Annotated[int, typer.Option(help="How many, over 180 degrees.")] = 8,
    wavelength: Annotated[float, typer.Option(help="Of the waves, in pixels.")] = 8.0,
    size: Annotated[
        str, typer.Option("--size", metavar="N|HxW", help="Of the image in pixels.")
    ] = "256",
    out: o.Out = Path("convlens-cortex"),
    json: o.Json = False,
    quiet: o.Quiet = False,  # nothing is long enough to be told of
) -> None:
    """Show a photo as simple and complex cells of the visual cortex would see it."""
    from convlens.analyses.cortex.cortex import cortex as look
    from convlens.cli.inputs import parse_size
    from convlens.cli.show import cells as show
    from convlens.data.images import to_tensor
    from convlens.data.photos import read_photo
    from convlens.data.preprocessing import Preprocessing

    height, width = parse_size(size)
    preprocessing = Preprocessing(
        size=(height, width), resize=max(height, width), interpolation="bicubic"
    )
    image = to_tensor(preprocessing.apply(read_photo(photo).picture))
    found = look(image, orientations=orientations, wavelength=wavelength)
    found.save(out)
    show.cortex(found, out, json=json)
