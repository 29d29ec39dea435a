"""The chapter command: every figure of the chapter on one page."""

from pathlib import Path

from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def chapter(
    out: o.Out = Path("convlens-chapter"),
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make every figure of the chapter, on one page, each with its command and Python lines."""
    from convlens.cli import terminal
    from convlens.files import CHAPTER, check_replaceable_folder

    check_replaceable_folder(out, marker=CHAPTER)  # before the imports that need torch
    from convlens.cli.show.chapter import show_chapter
    from convlens.textbook.chapter import chapter

    with terminal.progress(quiet=quiet) as progress:
        result = chapter(
            out=out, progress=lambda stage, done, total: progress("figures", done, total)
        )
    show_chapter(result, json=json)
