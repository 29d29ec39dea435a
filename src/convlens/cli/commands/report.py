"""The report command: one self-contained page about a network and photos."""

import shlex
import sys
from pathlib import Path

from convlens.cli import options as o
from convlens.cli.app import START, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=START)
@with_arguments(ModelArguments)
def report(
    arguments: ModelArguments,
    photos: o.MaybePhotos = None,
    out: o.Out = Path("convlens-report"),
    overwrite: o.Overwrite = False,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
    layer: o.Layer = None,
    classes: o.Classes = None,
    boxes: o.Boxes = None,
    strict: o.Strict = False,
) -> None:
    """Make one self-contained page about a network and photos."""
    from convlens.cli import terminal
    from convlens.cli.class_words import check_class_words
    from convlens.cli.inputs import find_paths, load_model
    from convlens.cli.labels import LabelSource
    from convlens.files import REPORT, check_replaceable_folder
    from convlens.models.loading.default_photos import check_default_photos, default_photos

    check_class_words(arguments, classes or ())
    paths = find_paths(photos, out=out) if photos else None
    check_replaceable_folder(out, marker=REPORT)
    if paths is None:
        check_default_photos(arguments.model, arguments.model)
    shown = paths if paths is not None else default_photos(arguments.model)
    source = LabelSource.find(labels, shown, arguments, no_labels=no_labels)
    loaded = load_model(arguments)  # before the imports that need torch
    from convlens.cli.show.report import show_report
    from convlens.page.report import report as write_report

    table = source.read_table(loaded)
    with terminal.progress(quiet=arguments.quiet) as progress:
        finished = write_report(
            loaded,
            paths,
            out=out,
            labels={} if no_labels else table,
            layer=layer,
            classes=classes,
            boxes=boxes,
            seed=arguments.seed,
            strict=strict,
            command=shlex.join(["convlens", *sys.argv[1:]]),
            progress=progress,
        )
    show_report(finished, json=arguments.json)
