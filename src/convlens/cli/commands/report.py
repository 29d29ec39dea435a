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
    layer: o.Layer = None,
    classes: o.Classes = None,
    boxes: o.Boxes = None,
    strict: o.Strict = False,
) -> None:
    """Make one self-contained page about a network and photos."""
    from convlens.cli import terminal
    from convlens.cli.inputs import find_paths, load_model, match_labels, read_label_table
    from convlens.cli.show.report import show_report
    from convlens.page.report import report as write_report

    paths = find_paths(photos, out=out) if photos else None
    loaded = load_model(arguments)
    table = read_label_table(labels, loaded)
    if paths is not None:
        match_labels(paths, table)  # fail before any work is done
    with terminal.progress(quiet=arguments.quiet) as progress:
        finished = write_report(
            loaded,
            paths,
            out=out,
            labels=table,
            layer=layer,
            classes=classes,
            boxes=boxes,
            seed=arguments.seed,
            strict=strict,
            command=shlex.join(["convlens", *sys.argv[1:]]),
            progress=progress,
        )
    show_report(finished, json=arguments.json)
