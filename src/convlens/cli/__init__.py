"""The command line: `convlens COMMAND`. Nothing heavy is imported before a command runs."""

import os
import sys


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit status 2."""
    from convlens.cli import commands  # noqa: F401 # adds them to the app
    from convlens.cli.app import app
    from convlens.errors import ConvlensError
    from convlens.memory import keep_freed

    keep_freed()
    try:
        app(prog_name="convlens")
    except ConvlensError as error:
        # Further processes of a training on several devices stop for the reason of the first.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"convlens: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except MemoryError as error:
        print(f"convlens: not enough memory; try a smaller --size: {error}", file=sys.stderr)
        raise SystemExit(2) from None
