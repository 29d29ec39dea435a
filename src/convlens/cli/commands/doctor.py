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
    strict: o.Strict = False,
) -> None:
    """Check the preprocessing: would the network do better on these photos with another one?

    In Python: convlens.check_preprocessing.
    """
    from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
    from convlens.cli import terminal
    from convlens.cli.inputs import find_paths, load_model, match_labels, read_label_table
    from convlens.cli.show.doctor import show_diagnosis

    paths = find_paths(photos)
    loaded = load_model(arguments)
    table = read_label_table(labels, loaded)
    with terminal.progress(quiet=arguments.quiet) as progress:
        diagnosis = check_preprocessing(
            loaded,
            paths,
            labels=match_labels(paths, table),
            strict=strict,
            progress=lambda done, total: progress("variants", done, total),
        )
    show_diagnosis(diagnosis, json=arguments.json)
