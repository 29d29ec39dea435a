"""How little changes its answer."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def fgsm(
    photos: o.Photos,
    out: o.Out = Path("convlens-fgsm"),
    model: o.ModelSpec = "default",
    epsilon: Annotated[
        str, typer.Option(help="Largest changes, by commas; 8/255 is of the span of the bounds.")
    ] = "1/255,2/255,4/255,8/255",
    target: o.OneClass = None,
    labels: o.Labels = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Change photos by the fast gradient sign method, one folder a photo."""
    from convlens.cli import terminal
    from convlens.cli.inputs import each_image, find_labels, load_model
    from convlens.cli.show import photos as show
    from convlens.cli.show.photos import NUMBERS
    from convlens.files import whole_folder
    from convlens.photos import find_photos
    from convlens.views.fgsm import fgsm as attack

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    known = find_labels(labels, loaded) or {}
    table = show.FgsmTable(loaded.labels)
    with terminal.progress(quiet=quiet) as progress, whole_folder(out, marker=NUMBERS) as folder:
        for path, name, image in each_image(loaded, paths, table.skipped, strict=strict):
            against = target if target is not None else known.get(path.name, (None,))[0]
            sizes = [one.strip() for one in epsilon.split(",")]
            result = attack(loaded, image, sizes, classes=against, seed=seed)
            result.save(folder / name)
            table.add(name, result)
            progress("FGSM", len(table.results), len(paths))
        table.write(folder)
    table.show(out, json=json)
