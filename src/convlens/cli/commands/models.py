"""The models command: the networks that can be loaded by name."""

from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import NETWORKS, app


@app.command(rich_help_panel=NETWORKS)
def models(
    containing: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="List only names that contain this text.")
    ] = "",
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """List the networks that can be loaded by name."""
    from convlens.cli.show.models import show_models
    from convlens.models.loading.load import list_models

    show_models(list_models(containing), containing, json=json)
