"""The command line: `convlens COMMAND`. Nothing heavy is imported before a command runs."""

import os
import sys
from typing import Any

from convlens.runtime.threads import limit_spinning


def main() -> None:
    """Run the command line. Bad input ends in one line on standard error and exit status 2."""
    limit_spinning()  # before a command imports torch
    import typer

    from convlens.cli import commands  # noqa: F401 # adds them to the app
    from convlens.cli.app import app
    from convlens.errors import ConvlensError
    from convlens.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    # The base class of usage errors in click, or in the copy of click inside newer typers.
    usage_error: type[BaseException] = next(
        cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException"
    )
    try:
        status = app(prog_name="convlens", standalone_mode=False)
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined] # prints the help
        else:
            print(f"convlens: {_describe_usage_error(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except typer.Abort:
        print("Aborted.", file=sys.stderr)
        raise SystemExit(1) from None
    except ConvlensError as error:
        # In a training with several processes all stop for one reason: the first one prints it.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"convlens: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except MemoryError as error:
        print(f"convlens: not enough memory; try a smaller --size: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(status or 0)


def _describe_usage_error(error: Any) -> str:
    """What is wrong with the words of a command, in one line, and which help to read."""
    words = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{words}; see {context.command_path} --help" if context is not None else words
