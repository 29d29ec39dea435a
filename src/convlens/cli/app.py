"""The application that the commands are added to."""

import typer

app = typer.Typer(
    help="Shows what a convolutional network has learned.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
