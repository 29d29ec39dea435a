"""The command `python -m benchmarks`: run all benchmarks or those named, or list them."""

import argparse
import ast
import sys
import time
from importlib import import_module
from pathlib import Path

from convlens.errors import suggest
from convlens.runtime.threads import limit_spinning

NAMES = (
    "startup", "gradcam", "fgsm", "shift", "patches", "maximize", "dream", "gabor", "page",
    "explore", "throughput", "streaming", "folders", "resume", "engine", "scale", "errors", "diff",
    "check", "false_alarms", "accuracy",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the benchmarks that the arguments name, or list all.

    Args:
        arguments: those of the command line, without the program's name.

    Returns:
        Exit status: 0, or 2 for an unknown name.
    """
    limit_spinning()  # before a benchmark imports torch
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Run all benchmarks, or those named."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark to run")
    parser.add_argument(
        "--write-document", action="store_true", help="write the results to docs/benchmarks.md"
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks, run none")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            nearest = suggest(name, NAMES) or f"; there are: {', '.join(NAMES)}"
            print(f"there is no benchmark {name!r}{nearest}", file=sys.stderr)
            return 2
    if options.list:
        width = max(map(len, NAMES)) + 2
        for name in NAMES:
            print(f"{name:<{width}}{summarize(name)}")
        return 0
    for name in dict.fromkeys(options.names or NAMES):
        start = time.perf_counter()
        import_module(f"benchmarks.{name}").run()
        print(f"{name}: {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
        if options.write_document:  # after each, so that an interrupted run leaves its part
            _write_document()
    return 0


def _write_document() -> None:
    from benchmarks.document import DOCUMENT, write_document

    write_document({name: summarize(name) for name in NAMES})
    print(f"written: {DOCUMENT}")


def summarize(name: str) -> str:
    """First line of a benchmark's module docstring. The module, and so torch, is not imported."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
