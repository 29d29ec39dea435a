"""The explore command: a live explorer of a network, in a browser."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import START, app
from convlens.cli.arguments import ModelArguments, with_arguments
from convlens.cli.output_check import check_export
from convlens.errors import ConvlensError


@app.command(rich_help_panel=START)
@with_arguments(ModelArguments)
def explore(
    arguments: ModelArguments,
    photos: o.MaybePhotos = None,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Patches of all PHOTOS: the folder that convlens patches wrote, or a new folder, "
            "which is filled first.",
        ),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="SPEC",
            help="A second model or checkpoint, beside which pages can be shown; can be given "
            "several times.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=check_export,
            help="Write the pages as files, for a disk or a web server, and start no server.",
        ),
    ] = None,
    channels: Annotated[
        int, typer.Option(min=0, help="Channels of each layer that --export writes a page for.")
    ] = 4,
    overwrite: o.Overwrite = False,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="First port to try; the next free one is taken. 0: any port."
        ),
    ] = 8642,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser.")
    ] = True,
) -> None:
    """Explore a network and photos live in the browser."""
    from convlens.cli import terminal
    from convlens.cli.inputs import find_paths, load_model
    from convlens.cli.labels import LabelSource
    from convlens.cli.patches_index import check_index, make_index
    from convlens.cli.show.explore import show_explorer, show_export
    from convlens.models.loading.default_photos import default_photos
    from convlens.runtime.extras import check_installed

    check_installed("the explorer", ("starlette", "uvicorn"), "explore")
    if export is not None and with_:
        raise ConvlensError("--export and --with do not go together; export each model by itself")
    paths = find_paths(photos) if photos else None
    shown = paths
    if index is not None:
        check_index(index, paths)
        if labels is not None and paths is None:
            raise ConvlensError("--labels needs PHOTOS; give the photos of the index, too")
    elif labels is not None and paths is None:
        shown = default_photos(arguments.model)
    source = LabelSource.find(labels, shown or [], arguments, no_labels=no_labels)
    model = load_model(arguments)  # before the imports that need torch
    others = [load_model(replace(arguments, model=spec)) for spec in with_ or ()]
    from convlens.explorer.explore import explore as start_explorer
    from convlens.explorer.explore import export_explorer

    table = {} if no_labels else source.read_table(model)
    if index is not None and paths is not None:
        make_index(index, model, paths, table, seed=arguments.seed, quiet=arguments.quiet)
    if export is not None:
        with terminal.progress(quiet=arguments.quiet) as progress:
            page = export_explorer(
                model, export, paths, labels=table, index=index, channels=channels,
                seed=arguments.seed, notify=terminal.printer(quiet=arguments.quiet),
                progress=progress,
            )  # fmt: skip
        show_export(page, json=arguments.json)
        return
    explorer = start_explorer(
        model, paths, labels=table, index=index, compare_with=others, port=port,
        seed=arguments.seed,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        show_explorer(
            explorer.url,
            port=explorer.port,
            json=arguments.json,
            quiet=arguments.quiet,
            browser=browser,
        )
        explorer.wait()
    explorer.stop()
