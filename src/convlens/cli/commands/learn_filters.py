"""The learn-filters command: filters that are learned from photos, beside Gabor functions."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command("learn-filters", rich_help_panel=CHAPTER)
def learn_filters(
    photos: o.MaybePhotos = None,
    filters: Annotated[int, typer.Option(min=1, help="Number of filters.")] = 64,
    kernel: o.Kernel = 11,
    steps: Annotated[int, typer.Option(min=1, help="Number of training steps.")] = 4000,
    null_size: Annotated[
        int, typer.Option(min=100, help="Number of noise filters that the fits are compared with.")
    ] = 1000,
    out: o.Out = Path("convlens-learned-filters"),
    seed: o.Seed = 0,
    overwrite: o.Overwrite = False,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn filters from photos without labels, and compare them with Gabor functions."""
    from convlens.cli import terminal
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import find_paths, output_folder

    paths = find_paths(photos, out=out) if photos else None
    with output_folder(out):
        from convlens.analyses.gabor.fit import fit_gabor  # imports torch
        from convlens.cli.show.filters import show_gabor_fit
        from convlens.training.filter_learning import learn_filters

        with terminal.progress(quiet=quiet) as progress:
            model = learn_filters(
                paths, filters=filters, kernel=kernel, steps=steps, seed=seed,
                strict=strict,
                progress=lambda done, total: progress("steps", done, total),
            )  # fmt: skip
        with terminal.waiting("fitting Gabor functions to filters and to noise", quiet=quiet):
            result = fit_gabor(model, null_size=null_size, seed=seed)
        result.save(out, command=command_line())
    show_gabor_fit(result, out, json=json)
