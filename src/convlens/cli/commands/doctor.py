"""The doctor command: whether photos are preprocessed as the network needs them."""

from convlens.cli import options as o
from convlens.cli.app import START, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=START)
@with_arguments(ModelArguments)
def doctor(
    arguments: ModelArguments,
    photos: o.Photos,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
    strict: o.Strict = False,
) -> None:
    """Check the preprocessing: would the network do better on these photos with another one?

    In Python: convlens.check_preprocessing.
    """
    from convlens.cli import terminal
    from convlens.cli.inputs import find_paths, load_model
    from convlens.cli.labels import LabelSource

    paths = find_paths(photos)
    source = LabelSource.find(labels, paths, arguments, no_labels=no_labels)
    loaded = load_model(arguments)  # before the imports that need torch
    from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
    from convlens.cli.show.doctor import show_diagnosis

    right_classes = source.read(loaded)
    with terminal.progress(quiet=arguments.quiet) as progress:
        diagnosis = check_preprocessing(
            loaded,
            paths,
            labels=right_classes,
            strict=strict,
            progress=lambda done, total: progress("variants", done, total),
        )
    show_diagnosis(diagnosis, json=arguments.json)
