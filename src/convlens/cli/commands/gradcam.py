"""Where the network looks."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def gradcam(
    photos: o.Photos,
    out: o.Out = Path("convlens-gradcam"),
    model: o.ModelSpec = "default",
    classes: o.Classes = None,
    top: Annotated[int, typer.Option(help="Without --class: how many of the highest.")] = 1,
    layer: o.Layer = None,
    activation: Annotated[
        o.Activation, typer.Option(help="Which side of the non-linearity.")
    ] = o.Activation.pre,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show where the network looks: Grad-CAM, one folder a photo."""
    from convlens.cli import terminal
    from convlens.cli.inputs import each_image, load_model
    from convlens.cli.show import photos as show
    from convlens.cli.show.photos import NUMBERS
    from convlens.files import whole_folder
    from convlens.photos import find_photos
    from convlens.views.gradcam import gradcam as look

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = show.GradCamTable()
    with terminal.progress(quiet=quiet) as progress, whole_folder(out, marker=NUMBERS) as folder:
        for _, name, image in each_image(loaded, paths, table.skipped, strict=strict):
            result = look(
                loaded, image, classes=classes, top=top, activation=activation.value, layer=layer
            )
            result.save(folder / name)
            table.add(name, result)
            progress("Grad-CAM", len(table.results), len(paths))
        table.write(folder)
    table.show(out, json=json)
