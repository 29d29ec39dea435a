"""Whether photos are fed to it as it needs them."""

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def doctor(
    photos: o.Photos,
    model: o.ModelSpec = "default",
    labels: o.Labels = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Ask whether the network would read these photos better if they were fed otherwise."""
    from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
    from convlens.cli import terminal
    from convlens.cli.inputs import answers_of, find_labels, load_model
    from convlens.cli.show import doctor as show
    from convlens.data.photo_files import find_photos

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = find_labels(labels, loaded)
    with terminal.progress(quiet=quiet) as progress:
        found = check_preprocessing(
            loaded,
            paths,
            labels=answers_of(paths, table),
            strict=strict,
            progress=lambda done, total: progress("readings", done, total),
        )
    show.doctor(found, json=json)
