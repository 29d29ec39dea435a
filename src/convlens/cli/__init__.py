"""The command line: `convlens COMMAND`. Nothing heavy is imported before a command runs."""

import os
import sys
from typing import Any


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit status 2."""
    import typer

    from convlens.cli import commands  # noqa: F401 # adds them to the app
    from convlens.cli.app import app
    from convlens.errors import ConvlensError
    from convlens.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    # Click's, or of the click that newer typers carry inside.
    bad_words: type[BaseException] = next(
        one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException"
    )
    try:
        status = app(prog_name="convlens", standalone_mode=False)
    except bad_words as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined] # the help
        else:
            print(f"convlens: {_usage(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except typer.Abort:
        print("Aborted.", file=sys.stderr)
        raise SystemExit(1) from None
    except ConvlensError as error:
        # Further processes of a training on several devices stop for the reason of the first.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"convlens: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except MemoryError as error:
        print(f"convlens: not enough memory; try a smaller --size: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(status or 0)


def _usage(error: Any) -> str:
    """What is wrong with the words of a command, in one line, and where they are listed."""
    words = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{words}; see {context.command_path} --help" if context is not None else words
