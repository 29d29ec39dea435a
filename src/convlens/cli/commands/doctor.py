"""The doctor command: whether photos are preprocessed as the network needs them."""

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
    """Check the preprocessing: would the network do better on these photos with another one?

    In Python: convlens.check_preprocessing.
    """
    from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
    from convlens.cli import terminal
    from convlens.cli.inputs import answers_of, find_labels, load_model
    from convlens.cli.show.doctor import show_diagnosis
    from convlens.data.photo_files import find_photos

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = find_labels(labels, loaded)
    with terminal.progress(quiet=quiet) as progress:
        diagnosis = check_preprocessing(
            loaded,
            paths,
            labels=answers_of(paths, table),
            strict=strict,
            progress=lambda done, total: progress("variants", done, total),
        )
    show_diagnosis(diagnosis, json=json)
