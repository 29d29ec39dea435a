"""The typer application that the commands are added to, and the option `--version`."""

from typing import Annotated

import typer

import convlens

# The groups of commands in --help. A command names its group: @app.command(rich_help_panel=START).
START = "Start here"
PREDICTIONS = "Explain and test predictions"
CHANNELS = "See what layers and channels detect"
NETWORKS = "Inspect, find and train networks"
CHAPTER = "Work through the chapter"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(show_version: bool) -> None:
    if show_version:
        print(f"convlens {convlens.__version__}")
        raise typer.Exit


@app.callback()
def convlens_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Show what a convolutional network has learned."""
